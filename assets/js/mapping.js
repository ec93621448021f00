// The layout "template": a text box of Jinja for each part, over the row's columns, and what the
// first rows become. Builds on elements.js and jinja_editor.js.
const askMapped = asker("mapped");
const state = { about: {}, parts: null, kept: {}, last: null, draft: false };

const columns = make("div", "s-columns");
columns.setAttribute("role", "group");
columns.setAttribute("aria-label", "Columns of the row: press one to write it into the template");
const boxes = make("div", "s-mapping");
const save = button("Save these templates", () => {
  state.draft = false;
  trigger("submit", { templates: written() });
}, "s-button s-primary");
const saved = make("span", "s-note");
saved.setAttribute("role", "status");
const saving = make("div", "s-actions");
saving.append(save, saved);
const stepper = rowStepper((index) => { stepper.index = index; load(); });
const head = make("div", "s-preview-head");
head.append(make("h3", "", "What the rows become"), stepper.box);
const shown = make("div", "s-preview");
const note = make("p", "s-note", "The row's columns; press one to write it where the cursor stands:");
const all = make("div", "s-mapping-editor");
all.append(note, columns, boxes, saving, head, shown);
all.hidden = true;
element.replaceChildren(all);

let editors = null;
const written = () => Object.fromEntries(Object.entries(editors).map(([name, one]) => [name, one.value]));
const makeEditors = (parts) => {
  editors = {};
  for (const [name, label, required] of parts) {
    const one = jinjaEditor({
      label: required ? label : `${label} (optional)`,
      rows: name === "prompt" ? 4 : 2,
      onInput: () => { state.draft = true; marks(); later(); },
    });
    one.area.addEventListener("focus", () => { state.last = one; });
    editors[name] = one;
    boxes.append(one.box);
  }
  state.last = Object.values(editors)[0];
};
const marks = () => {
  const now = written();
  const changed = Object.keys(now).some((name) => now[name] !== (state.kept[name] || ""));
  saved.textContent = changed ? "Not saved yet" : "Saved in the recipe";
  save.disabled = !changed;
};

const drawRow = (row) => {
  const box = make("div", "s-mapped");
  box.append(make("h3", "s-note", `Row ${count(row.number)}`));
  if (row.problem) box.append(problemBox(row.problem.message, row.problem.fix));
  for (const [role, text] of row.turns || []) {
    const bubble = make("div", `s-bubble${role === "assistant" ? " trained" : ""}`);
    bubble.append(make("span", "s-role", role), make("div", "", text));
    box.append(bubble);
  }
  return box;
};
const draw = (data, fresh) => {
  if (!editors) makeEditors(data.parts);
  state.kept = data.kept;
  if (fresh) for (const [name, one] of Object.entries(editors)) one.value = data.templates[name] || "";
  columns.replaceChildren(...data.columns.map(([name, braces, cell]) => {
    const chip = button(name, () => state.last.insert(braces), "s-chip");
    chip.title = `${braces} is: ${cell}`;
    return chip;
  }));
  for (const [name, one] of Object.entries(editors)) one.show(data.wrong[name] || null);
  stepper.show(data.index, data.n_rows);
  shown.replaceChildren(...data.rows.map(drawRow));
  marks();
};
async function load() {
  if (!state.about.dataset) return;
  const fresh = !editors || !state.draft;
  const data = await askMapped({
    dataset: state.about.dataset, index: stepper.index, templates: fresh ? null : written(),
  });
  if (data === null) return;
  if (data.error) shown.replaceChildren(problemBox(data.error, data.fix));
  // What was typed while the answer was on its way stays.
  else draw(data, fresh && !state.draft);
}
const later = paused(load);

hear("row-chosen", (chosen) => {
  if (chosen.dataset !== state.about.dataset) return;
  stepper.index = chosen.index;
  later();
});
const refresh = () => {
  const value = props.value || {};
  if (value.dataset !== state.about.dataset) {
    state.draft = false;
    stepper.index = 0;
  }
  state.about = { ...value };
  all.hidden = !value.dataset;
  load();
};
watch("value", refresh);
refresh();
