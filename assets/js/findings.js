// The findings of a checkup by kind, the worst first: what, where, why it matters, and the next
// click. Builds on elements.js; hears checkup_line.js.
const state = { about: { dataset: "" }, key: "", data: null, busy: "", problem: null, done: "", notesOpen: false };
const askFindings = asker("findings");
const head = make("div", "s-checkup-head");
const title = make("p", "s-checkup-title");
title.tabIndex = -1;
title.setAttribute("role", "status");
head.append(title);
const trouble = make("div");
trouble.setAttribute("role", "alert");
const list = make("div", "s-kinds");
element.replaceChildren(head, trouble, list);

const openView = (name) => document.querySelector(`#data-view-${name}-button`)?.click();
const goTo = (to) => {
  const [what, where] = to.split(":");
  if (what === "view") openView(where);
  else trigger("go", { tab: where });
};
const mend = async (group) => {
  if (state.busy) return;
  state.busy = group.code;
  draw();
  let answer;
  try {
    answer = await server.mend_rows({ ...state.about, code: group.code });
  } catch {
    answer = { error: "The studio does not answer.", fix: "Is it still running? Then try again." };
  }
  state.busy = "";
  state.problem = answer.error ? answer : null;
  state.done = answer.error ? "" : `${answer.done} Undo it under Changes.`;
  draw();
  title.focus();
  if (!answer.error) trigger("kept", { dataset: answer.dataset });
};

const linkTo = (label, press) => button(label, press, "s-link");
const examplesOf = (group) => {
  const examples = make("ul", "s-examples");
  for (const example of group.examples) {
    const item = make("li");
    const show = linkTo(`Show row ${count(example.index + 1)}`, () => tell("row-show", { index: example.index }));
    item.append(make("span", "s-example-text", example.message), " ", show);
    examples.append(item);
  }
  return examples;
};
// What a click will change in the first of its rows.
const changeOf = (change) => {
  const box = make("div", "s-before-after");
  const side = (word, pieces, tag) => {
    const line = make("div", "s-before-after-line");
    const text = make("span", "s-before-after-text");
    for (const [said, changes] of pieces) text.append(changes ? make(tag, "", said) : said);
    if (!pieces.length) text.append(make(tag, "", "(nothing)"));
    line.append(make("span", "s-before-after-word", word), text);
    return line;
  };
  box.append(side(`Row ${count(change.row + 1)} now`, change.before, "del"), side("then", change.after, "ins"));
  return box;
};
const mendOf = (group) => {
  const edits = group.mend.by === "edit";
  const press = button(
    state.busy === group.code ? "Working …" : group.mend.label,
    () => (edits ? tell("row-edit", { index: Number(group.mend.row) }) : mend(group)),
    `s-button${group.severity === "bad" && !edits ? " s-primary" : ""}`,
  );
  press.disabled = Boolean(state.busy) || !(state.data.mendable || edits);
  if (!state.data.mendable && !edits) press.title = "Check every row again first: the rows are read in another way now.";
  return press;
};
const kindOf = (group) => {
  const part = make("section", `s-kind is-${group.severity}`);
  part.dataset.code = group.code;
  part.setAttribute("aria-label", `${group.word}: ${group.title}`);
  const badge = make("span", `s-tag ${{ bad: "bad", look: "look", note: "" }[group.severity]}`);
  const shape = make("span", "", group.shape);
  shape.setAttribute("aria-hidden", "true");
  badge.append(shape, ` ${group.word}`);
  const first = make("div", "s-kind-head");
  first.append(badge, make("h3", "", group.title), make("span", "s-kind-count", group.rows));
  if (group.mend) first.append(mendOf(group));
  part.append(first, make("p", "s-kind-why", group.why));
  for (const said of group.said) part.append(make("p", "s-kind-said", said));
  if (group.examples.length) part.append(examplesOf(group));
  if (group.change) part.append(changeOf(group.change));
  const foot = make("div", "s-kind-foot");
  const next = group.mend?.will || group.fix;
  if (next) foot.append(make("span", "s-note", next));
  if (group.n_rows > 1) {
    foot.append(linkTo(`Show all ${count(group.n_rows)} in the table`, () => {
      tell("row-filter", { name: "finding", value: group.code, set: true });
      openView("rows");
    }));
  }
  if (group.place) foot.append(linkTo(group.place.label, () => goTo(group.place.to)));
  part.append(foot);
  return part;
};
const notesOf = (notes) => {
  const fold = make("details", "s-notes");
  fold.open = state.notesOpen;
  fold.addEventListener("toggle", () => { state.notesOpen = fold.open; });
  fold.append(make("summary", "", `Good to know (${count(notes.length)})`), ...notes.map(kindOf));
  return fold;
};
const empty = (strong, words) => {
  const box = make("div", "s-empty");
  box.append(make("strong", "", strong), make("p", "", words));
  return box;
};
const draw = () => {
  const data = state.data;
  trouble.replaceChildren(...(state.problem ? [problemBox(state.problem.error, state.problem.fix)] : []));
  if (!data || !data.result) {
    title.textContent = state.done;
    const words = data ? "Press Check every row above; small datasets are checked by themselves." : "Reading the checkup …";
    list.replaceChildren(empty("No checkup yet", words));
    return;
  }
  const before = data.result.current ? "" : " From before your last change: what was mended since is left out.";
  title.textContent = `${state.done ? `${state.done} ` : ""}${data.result.about}${before}`;
  title.classList.toggle("is-old", !data.result.current);
  const parts = data.groups.map(kindOf);
  if (!parts.length) {
    const good = make("div", "s-finding good");
    good.append(make("b", "", "✓ Nothing to mend. "), data.result.good);
    parts.push(good);
  }
  if (data.notes.length) parts.push(notesOf(data.notes));
  list.replaceChildren(...parts);
};
const load = async () => {
  if (!state.about.dataset) return;
  const about = state.about;
  const data = await askFindings(about);
  if (data === null || about !== state.about) return;
  if (data.error) {
    state.problem = data;
    draw();
    return;
  }
  state.data = data;
  draw();
};
const hearState = (news) => {
  if (!news || news.about.dataset !== state.about.dataset) return;
  const key = `${news.said.stamp} ${news.said.result?.key} ${news.said.result?.current}`;
  if (key === state.key) return;
  state.key = key;
  load();
};
hear("checkup", hearState);
const refresh = () => {
  const value = props.value || {};
  if (value.dataset !== state.about.dataset) Object.assign(state, { data: null, key: "", done: "", notesOpen: false });
  if (value.version !== state.about.version) state.problem = null;
  state.about = { dataset: "", ...value };
  draw();
  load();
};
watch("value", refresh);
refresh();
