// Phrasings: an editor for each, what the chosen row's question becomes, and which one it draws.
// Builds on elements.js and jinja_editor.js.
const askPhrased = asker("phrased_row");
const state = { about: {}, kept: [], draft: false, last: null, n: 0 };
const note = make("p", "s-note", "Every row draws one of these by the split seed, the same in training and validation. {{ prompt }} stands for the row's question; press a name to write it.");
const columns = make("div", "s-columns");
const list = make("div", "s-phrasing-list");
let lines = [];
const written = () => lines.map((one) => one.editor.value);
const addOne = (text = "", focus = false) => {
  const editor = jinjaEditor({
    label: `Phrasing ${lines.length + 1}`,
    rows: 2,
    onInput: () => { state.draft = true; marks(); later(); },
  });
  const box = make("div", "s-phrasing");
  const becomes = make("p", "s-note s-becomes");
  const one = { editor, box, becomes };
  const gone = button("Remove", () => {
    lines = lines.filter((other) => other !== one);
    box.remove();
    state.draft = true;
    lines.forEach((other, at) => { other.editor.box.querySelector("label").textContent = `Phrasing ${at + 1}`; });
    marks();
    load();
    add.focus();
  }, "s-link s-phrasing-gone");
  gone.setAttribute("aria-label", "Remove this phrasing");
  editor.area.addEventListener("focus", () => { state.last = editor; });
  editor.value = text;
  box.append(editor.box, becomes, gone);
  list.append(box);
  lines.push(one);
  state.last = editor;
  if (focus) editor.area.focus();
  return one;
};
const add = button("Add a phrasing", () => {
  addOne(lines.length ? "" : "{{ prompt }}", true);
  state.draft = true;
  marks();
  load();
});
const save = button("Save phrasings", () => {
  state.draft = false;
  trigger("submit", { phrasings: written() });
}, "s-button s-primary");
const saved = make("span", "s-note");
saved.setAttribute("role", "status");
const stepper = rowStepper((index) => { stepper.index = index; load(); });
const actions = make("div", "s-actions");
actions.append(add, save, saved);
element.replaceChildren(note, columns, list, stepper.box, actions);

const marks = () => {
  const now = written().filter((text) => text.trim());
  const changed = JSON.stringify(now) !== JSON.stringify(state.kept);
  saved.textContent = changed ? "Not saved yet" : state.kept.length ? "Saved in the recipe" : "";
  save.disabled = !changed;
  for (const one of [columns, stepper.box]) one.hidden = !lines.length;
  save.hidden = !lines.length && !state.kept.length;
};
const draw = (data, fresh) => {
  state.kept = data.kept;
  if (fresh) {
    lines = [];
    list.replaceChildren();
    for (const text of data.phrasings) addOne(text);
  }
  columns.replaceChildren(...data.columns.map(([name, braces]) =>
    button(name, () => state.last && state.last.insert(braces), "s-chip")));
  data.shown.forEach((shown, at) => {
    const one = lines[at];
    if (!one) return;
    one.editor.show(shown.wrong || null);
    one.becomes.replaceChildren(
      data.drawn === at ? make("b", "s-violet", "This row draws it: ") : "",
      shown.wrong ? "" : shown.problem || shown.text || "",
    );
  });
  stepper.show(data.index, data.n_rows);
  add.disabled = data.plain;
  if (data.plain) saved.textContent = "Plain text has no question to phrase.";
  else marks();
};
async function load() {
  if (!state.about.dataset) return;
  const fresh = !state.draft;
  const data = await askPhrased({
    dataset: state.about.dataset, index: stepper.index, phrasings: fresh ? null : written(),
  });
  if (data === null) return;
  if (data.error) saved.textContent = data.error;
  // What was typed while the answer was on its way stays.
  else draw(data, fresh && !state.draft);
}
const later = paused(load);
const refresh = () => {
  const value = props.value || {};
  if (value.dataset !== state.about.dataset) {
    state.draft = false;
    stepper.index = 0;
  }
  state.about = { ...value };
  load();
};
watch("value", refresh);
refresh();
