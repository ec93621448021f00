// What training gets: rows of each part as one bar, leaks, notes, and the set as files.
// Builds on elements.js and shape_figures.js.
const EVERY_MS = 600;
const askFigures = asker("figures");
const askFiles = asker("files");
const state = { about: {}, asking: "", clock: 0 };

const bar = make("div", "s-parts");
bar.setAttribute("role", "img");
const facts = make("dl", "s-facts s-part-facts");
const said = make("p", "s-note");
said.setAttribute("role", "status");
const words = make("div", "s-list");
const files = make("div", "s-files");
const save = make("div", "s-actions");
const formats = [["jsonl", "Messages as JSONL"], ["parquet", "Messages as Parquet"]];
const saveButtons = formats.map(([name, label]) => button(label, () => write(name)));
save.append(make("span", "s-note", "Download the prepared set:"), ...saveButtons);
element.replaceChildren(bar, facts, said, words, save, files);

const NAMES = [["train", "Training"], ["validation", "Validation"], ["test", "Test"]];
const draw = (answer) => {
  const known = answer.figures;
  said.textContent = answer.working
    ? known ? "Looking for values on both sides of the split …"
      : `Counting … ${answer.n_rows_read ? `${rowsWord(answer.n_rows_read)} read · ` : ""}${answer.time}`
    : "";
  element.firstElementChild.setAttribute("aria-busy", String(answer.working));
  const parts = [];
  if (answer.problem) parts.push(problemBox(answer.problem.message, answer.problem.fix));
  for (const one of [bar, facts, save]) one.hidden = !known;
  if (known) {
    const total = known.train + known.validation + known.test;
    bar.replaceChildren(...NAMES.filter(([name]) => known[name]).map(([name, label]) => {
      const part = make("span", `s-part ${name}`, label);
      part.style.flexGrow = known[name];
      return part;
    }));
    bar.setAttribute("aria-label", NAMES.map(([name, label]) => `${label} ${rowsWord(known[name])}`).join(", "));
    facts.replaceChildren(...NAMES.map(([name, label]) => {
      const box = make("div");
      box.dataset.part = name;
      const value = make("dd", "", count(known[name]));
      value.append(make("span", "s-note", ` ${percent(known[name], total)}`));
      box.append(make("dt", "", `${label} rows`), value);
      return box;
    }));
    const of = [`${rowsWord(known.n_rows)} in the dataset`];
    if (known.n_removed) of.push(`${count(known.n_removed)} removed`);
    if (known.n_distinct !== known.train) of.push(`${count(known.n_distinct)} different ones in training`);
    parts.unshift(make("p", "s-note", `${of.join(" · ")}.`));
    for (const leak of known.leaks || []) {
      const note = make("div", "s-finding");
      note.append(
        make("b", "", `${rowsWord(leak.n_rows)} held out share a value of '${leak.column}' with training`),
        make("p", "", `For example “${leak.example}”. The loss on them tells less than it seems: split by group with '${leak.column}' keeps such rows together.`),
        button(`Split by group: ${leak.column}`, () => trigger("select", { column: leak.column }), "s-link"),
      );
      parts.push(note);
    }
    for (const note of known.notes) parts.push(make("p", "s-note", note));
  }
  words.replaceChildren(...parts);
};

const look = async () => {
  clearTimeout(state.clock);
  const dataset = state.about.dataset;
  if (!dataset || !element.isConnected) return;
  const answer = await askFigures({ dataset });
  if (answer === null) return;
  if (answer.error) {
    said.textContent = "";
    words.replaceChildren(problemBox(answer.error, answer.fix));
    return;
  }
  draw(answer);
  tellFigures(dataset, answer);
  if (answer.working) state.clock = setTimeout(look, EVERY_MS);
};

const write = async (format) => {
  const dataset = state.about.dataset;
  state.asking = format;
  for (const one of saveButtons) one.disabled = true;
  while (state.asking === format) {
    const answer = await askFiles({ dataset, format });
    if (answer === null) break;
    if (answer.error) {
      files.replaceChildren(problemBox(answer.error, answer.fix));
      break;
    }
    if (!answer.working) {
      drawFiles(answer);
      break;
    }
    files.replaceChildren(make("p", "s-note", `Writing … ${rowsWord(answer.n_rows)}`));
    await new Promise((go) => setTimeout(go, EVERY_MS));
  }
  state.asking = "";
  for (const one of saveButtons) one.disabled = false;
};
const drawFiles = (answer) => {
  const list = make("ul", "s-file-list");
  for (const file of answer.files) {
    const line = make("li");
    const link = make("a", "s-file", file.name);
    link.href = file.link;
    link.download = file.download;
    line.append(link, make("span", "s-note", ` ${file.words}`));
    list.append(line);
  }
  const left = answer.left_out ? [problemBox(answer.left_out, answer.first)] : [];
  files.replaceChildren(...left, ...answer.notes.map((note) => make("p", "s-note", note)), list);
};

const refresh = () => {
  state.about = { ...(props.value || {}) };
  state.asking = "";
  files.replaceChildren();
  if (state.about.dataset) look();
};
watch("value", refresh);
refresh();
