// One row all the way, from the file to its tokens: what the table has chosen.
// Builds on elements.js and row_edit.js.
const view = make("div", "s-row-view");
view.tabIndex = -1;
view.setAttribute("aria-label", "The chosen row. J and K go to the next and the previous one.");
const bar = make("div", "s-row-bar");
const name = make("h3", "s-row-name");
const where = make("span", "s-note");
const arrow = (sign, label, by) => {
  const node = button(sign, () => tell("row-step", { by }), "s-button s-arrow");
  node.setAttribute("aria-label", label);
  node.title = label;
  return node;
};
const back = arrow("‹", "Previous row", -1);
const on = arrow("›", "Next row", 1);
const spaces = make("button", "s-button", "Show whitespace");
spaces.type = "button";
bar.append(name, where, back, on, make("span", "s-row-break"), editButtons, spaces);
const body = make("div", "s-row-body");
view.append(bar, editForm, body);
element.replaceChildren(view);

const state = { about: {}, index: null, whole: false, side: 0, data: null };
const askRow = asker("row");
const keep = (key, value) => { try { localStorage.setItem(key, value); } catch { /* private window */ } };
const kept = (key) => { try { return localStorage.getItem(key); } catch { return null; } };

// Whitespace as signs: · a blank, ⇥ a tab, ↵ a line break, ␣ a blank of another kind.
const SIGNS = { " ": "·", "\t": "⇥", "\n": "↵\n", "\r": "␍" };
const OTHER_BLANKS = /[\u00a0\u1680\u2000-\u200b\u2028\u2029\u202f\u205f\u3000\ufeff]/g;
const signs = (text) => text.replace(/[ \t\n\r]/g, (sign) => SIGNS[sign]).replace(OTHER_BLANKS, "␣");
let visible = kept("studio-whitespace") === "on";
const shown = (text) => (visible ? signs(text) : text);

const section = (title, key, open, ...parts) => {
  const box = make("details", "s-section");
  box.dataset.section = key;
  const said = kept(`studio-section-${key}`);
  box.open = said ? said === "open" : open;
  const summary = make("summary");
  summary.append(make("h3", "", title));
  box.append(summary, ...parts);
  summary.addEventListener("click", () => keep(`studio-section-${key}`, box.open ? "closed" : "open"));
  return box;
};
const left = (n, what) => {
  const note = make("p", "s-note", `… and ${count(n)} ${what} more. `);
  note.append(button("Show all", () => { state.whole = true; load(); }, "s-link"));
  return n > 0 ? [note] : [];
};

const raw = (data) => {
  const copy = button("Copy", async () => {
    let word = "Copied";
    try {
      await navigator.clipboard.writeText(data.raw.text);
    } catch {
      // Without the clipboard (an address that is not this computer) the text is selected instead.
      getSelection().selectAllChildren(text);
      word = "Selected: press Ctrl+C";
    }
    copy.textContent = word;
    setTimeout(() => { copy.textContent = "Copy"; }, 2500);
  }, "s-button s-copy");
  const text = make("pre", "s-rendered s-raw", data.raw.text);
  text.tabIndex = 0;
  return section("Raw row", "raw", Boolean(data.problem) && !data.sides, copy, text, ...left(data.raw.left, "characters"));
};

const bubble = (message, side) => {
  const worse = side === "worse answer";
  const box = make("div", `s-bubble${worse ? " worse" : message.trained ? " trained" : ""}`);
  const words = [message.role];
  if (message.name) words.push(message.name);
  if (side && message.trained) words.push(side);
  words.push(worse ? "trained against" : message.word);
  box.append(make("span", "s-role", words.filter(Boolean).join(" · ")));
  if (message.reasoning.text) {
    const thought = make("p");
    thought.append(make("em", "", shown(message.reasoning.text)));
    box.append(thought);
  }
  if (message.content.text) box.append(make("div", "", shown(message.content.text)));
  for (const call of message.calls) box.append(make("pre", "", call));
  box.append(...left(message.content.left, "characters"));
  return box;
};

const text = (part) => {
  const box = make("pre", "s-rendered");
  box.tabIndex = 0;
  part.runs.forEach((run, place) => box.append(place % 2 ? make("b", "", run) : shown(run)));
  return [box, ...left(part.left, "characters")];
};

const chip = ([said, id, marks]) => {
  const special = marks.includes("s");
  const css = ["s-token"];
  if (marks.includes("t")) css.push("trained");
  if (special) css.push("special");
  if (marks.includes("c")) css.push("cut");
  // A token of blanks alone is always shown by its signs, or nobody would see it.
  const seen = special ? said : visible || !said.trim() ? signs(said) : said;
  const node = make("span", css.join(" "), seen || "∅");
  node.title = `id ${id}`;
  return node;
};
const tokens = (side) => {
  const legend = make("p", "s-legend");
  legend.append(
    make("span", "s-token trained", "trained on"), " ", make("span", "s-token", "read only"), " ",
    make("span", "s-token special", "control"),
  );
  if (side.n_read < side.n_tokens) legend.append(" ", make("span", "s-token cut", "cut, not read"));
  legend.append(" · is a space, ↵ a line break");
  const box = make("div", "s-tokens");
  box.tabIndex = 0;
  let run = null;
  for (const token of side.tokens) {
    const word = token[2].includes("t") ? "trained on" : token[2].includes("c") ? "cut" : "read only";
    if (!run || run.getAttribute("aria-label") !== word) {
      run = make("span");
      run.setAttribute("role", "group");
      run.setAttribute("aria-label", word);
      box.append(run);
    }
    run.append(chip(token));
  }
  return [legend, box, ...left(side.n_tokens - side.tokens.length, "tokens")];
};

const counts = (side, data) => {
  const line = make("p", "s-counts");
  const part = side.n_tokens ? ` (${Math.round((100 * side.n_trained) / side.n_tokens)} %)` : "";
  line.append(
    make("b", "", count(side.n_tokens)), " tokens · ", make("b", "s-violet", count(side.n_trained)),
    ` trained on${part} · `, make("b", "", count(side.n_characters)), " characters ",
  );
  if (side.n_read < side.n_tokens) {
    line.append(make("span", "s-tag bad", `cut at ${count(data.max_length)} tokens`));
  } else if (!side.n_trained) {
    line.append(make("span", "s-tag bad", "nothing is trained on"));
  }
  return line;
};

const prompt = (data) => {
  if (!data.prompt) return [];
  if (data.prompt.problem) {
    const { message, fix } = data.prompt.problem;
    return [section("Prompt in chat", "prompt", true, problemBox(message, fix))];
  }
  const agrees = make("p", `s-finding ${data.prompt.agrees ? "good" : "bad"}`);
  agrees.append(make("b", "", data.prompt.agrees ? "Agrees. " : "Differs. "), data.prompt.word);
  const note = make("p", "s-note", `${count(data.prompt.n_tokens)} tokens, sent before the last answer is written.`);
  return [section("Prompt in chat", "prompt", !data.prompt.agrees, agrees, note, ...text(data.prompt.text))];
};

// Of a preference both answers: one is shown, a button for each.
const sides = (all) => {
  if (all.length < 2) return [];
  const group = make("div", "s-sides");
  group.setAttribute("role", "group");
  group.setAttribute("aria-label", "Which answer");
  group.append(...all.map((side, place) => {
    const choice = button(side.name, () => { state.side = place; draw(); });
    choice.setAttribute("aria-pressed", place === state.side ? "true" : "false");
    return choice;
  }));
  return [group];
};

const STATES = {
  removed: "removed: not in training", changed: "changed: not as in the file", added: "added: not in a file",
};
const draw = () => {
  const data = state.data;
  editShown(data, state.about);
  name.textContent = `Row ${count(data.number)}`;
  if (data.state) name.append(" ", make("span", `s-tag ${data.state === "removed" ? "bad" : "tuned"}`, STATES[data.state]));
  const about = [data.source, data.template && `chat template: ${data.template}`];
  const facts = make("p", "s-note", about.filter(Boolean).join(" · "));
  const all = data.sides || [];
  state.side = Math.max(0, Math.min(state.side, all.length - 1));
  const side = all[state.side];
  const bubbles = (all[0]?.messages || []).map((one) => bubble(one, all[0].name));
  if (all[1]) bubbles.push(...all[1].messages.filter((one) => one.trained).map((one) => bubble(one, all[1].name)));
  const list = make("div", "s-messages");
  list.append(...bubbles);
  const messages = bubbles.length ? [section("Messages", "messages", true, list)] : [];
  if (data.problem) {
    const { message, fix } = data.problem;
    body.replaceChildren(facts, problemBox(message, fix), raw(data), ...messages);
    return;
  }
  const label = data.label ? [make("p", `s-finding ${data.label.good ? "good" : "bad"}`, data.label.word)] : [];
  const top = body.scrollTop;
  body.replaceChildren(
    facts, ...label, raw(data), ...messages, ...sides(all), counts(side, data),
    section("Text the model reads", "text", true, ...text(side.text)),
    section("Tokens", "tokens", true, ...tokens(side)),
    ...prompt(data),
  );
  body.scrollTop = top;
};

const place = (chosen) => {
  where.textContent = chosen ? `${count(chosen.place + 1)} of ${count(chosen.n_found)}` : "";
  back.disabled = !chosen || chosen.place <= 0;
  on.disabled = !chosen || chosen.place >= chosen.n_found - 1;
};
const load = async () => {
  if (!state.about.dataset || state.index === null) return;
  view.setAttribute("aria-busy", "true");
  const data = await askRow({ ...state.about, index: state.index, whole: state.whole });
  if (data === null) return;
  view.removeAttribute("aria-busy");
  if (data.error) {
    body.replaceChildren(problemBox(data.error, data.fix));
    return;
  }
  state.data = data;
  draw();
};

spaces.setAttribute("aria-pressed", String(visible));
spaces.addEventListener("click", () => {
  visible = !visible;
  keep("studio-whitespace", visible ? "on" : "off");
  spaces.setAttribute("aria-pressed", String(visible));
  if (state.data) draw();
});
view.addEventListener("keydown", (event) => {
  if (event.target.closest("input, textarea, select") || event.ctrlKey || event.metaKey) return;
  const by = { j: 1, k: -1 }[event.key];
  if (!by) return;
  event.preventDefault();
  tell("row-step", { by });
});
const take = (chosen) => {
  if (!chosen || chosen.dataset !== state.about.dataset) return;
  place(chosen);
  if (chosen.index !== state.index) state.whole = false;
  state.index = chosen.index;
  load();
};
hear("row-chosen", take);
const refresh = () => {
  const value = props.value || {};
  if (value.dataset !== state.about.dataset) Object.assign(state, { index: null, side: 0, whole: false });
  state.about = { ...value };
  if (state.index === null) take(window.studioRows.chosen);
  else load();
};
hear("checkup-done", refresh);
watch("value", refresh);
refresh();
