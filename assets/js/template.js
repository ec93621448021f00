// The chat template: the model's own, one of the gallery or one's own Jinja, and what the chosen
// row becomes under it. Builds on elements.js and jinja_editor.js.
const OWN = " own";  // the choice "My own"; no template has this name
const askLook = asker("look");
const state = { about: {}, kept: null, chosen: "", data: null, draft: null };

const choices = make("div", "s-choices");
choices.setAttribute("role", "radiogroup");
choices.setAttribute("aria-label", "Chat template");
const reason = make("p", "s-note s-reason");
const editor = jinjaEditor({
  label: "My own template (Jinja)",
  help: "Put {% generation %} … {% endgeneration %} around what the assistant says.",
  rows: 14,
  onInput: (text) => { state.draft = text; marks(); later(); },
});
const save = button("Save this template", () => trigger("submit", { template: editor.value }), "s-button s-primary");
const drop = button("Discard changes", () => { state.draft = null; choose(state.kept); });
const saved = make("span", "s-note");
saved.setAttribute("role", "status");
const saving = make("div", "s-actions");
saving.append(save, drop, saved);
const writing = make("div", "s-writing");
writing.append(editor.box, saving);
const start = button("Edit a copy", () => {
  state.draft = state.data.source;
  choose(OWN);
  editor.area.focus();
});
const stepper = rowStepper((index) => { stepper.index = index; load(); });
const head = make("div", "s-preview-head");
head.append(make("h3", "", "The row under this template"), stepper.box);
const shown = make("div", "s-preview");
element.replaceChildren(choices, reason, start, writing, head, shown);

const isSource = (text) => /\{[{%]/.test(text);
const wanted = () => (state.chosen === OWN ? editor.value : state.chosen);
function marks() {
  const changed = state.chosen === OWN && editor.value !== state.kept;
  saved.textContent = state.chosen !== OWN ? "" : changed ? "Not saved yet" : "Saved in the recipe";
  const broken = state.data && state.data.wrong && state.data.wrong.syntax;
  save.disabled = !changed || Boolean(broken);
  drop.disabled = !changed;
}
const choose = (name) => {
  state.chosen = name !== OWN && isSource(name) ? OWN : name;
  if (state.chosen === OWN) {
    writing.hidden = false;
    editor.value = state.draft ?? (isSource(state.kept) ? state.kept : (state.data || {}).source || "");
  } else if (state.chosen !== state.kept) {
    trigger("submit", { template: state.chosen });
  }
  load();
};

const drawChoices = (data) => {
  const had = choices.contains(document.activeElement) && document.activeElement.value;
  const lines = data.choices.map((choice) => {
    const line = make("label", "s-choice");
    const input = make("input");
    input.type = "radio";
    input.name = "chat-template";
    input.value = choice.name;
    input.checked = choice.name === state.chosen;
    input.disabled = !choice.fits;
    input.addEventListener("change", () => choose(choice.name));
    const words = make("span");
    words.append(make("b", "", choice.title), " ", make("span", "s-note", choice.about));
    line.append(input, words);
    return line;
  });
  choices.replaceChildren(...lines);
  if (had !== false) choices.querySelector(`input[value="${CSS.escape(had)}"]`)?.focus();
};

const text = (data) => {
  const legend = make("p", "s-legend");
  legend.append(make("mark", "s-trained", "trained on"), " · ", make("b", "s-violet", "control token"), ` · ${count(data.n_tokens)} tokens, ${count(data.n_trained)} trained on`);
  const box = make("pre", "s-rendered s-tall");
  box.tabIndex = 0;
  for (const [said, kind] of data.runs) {
    const node = kind.includes("t") ? make("mark", "s-trained") : make("span");
    node.append(kind.includes("s") ? make("b", "", said) : said);
    box.append(node);
  }
  const left = data.n_left ? [make("p", "s-note", `… and ${count(data.n_left)} characters more`)] : [];
  return [legend, box, ...left];
};
const differing = (found) => {
  if (!found) return [];
  const box = problemBox(found.message, found.fix);
  for (const [name, said] of [["Chat asks:", found.asked], ["Training reads:", found.trained]]) {
    box.append(make("p", "", name), make("pre", "s-rendered", said));
  }
  return [box];
};
const prompt = (data) => {
  const agrees = differing(data.differs);
  if (!data.prompt) return agrees;
  const line = make("p", "s-note", "In chat the model is given the beginning, and then:");
  return [line, make("pre", "s-rendered", data.prompt), ...agrees];
};

const draw = (data) => {
  state.data = data;
  if (state.kept !== data.kept) {
    // Kept by this window, or by another one: a draft that is what was kept is no draft any more.
    if (state.draft === data.kept) state.draft = null;
    const own = state.chosen === OWN && state.draft !== null;
    state.kept = data.kept;
    if (!own) {
      state.chosen = isSource(data.kept) ? OWN : data.kept;
      if (state.chosen === OWN) editor.value = data.kept;
    }
  }
  drawChoices(data);
  reason.textContent = data.reason;
  writing.hidden = state.chosen !== OWN;
  start.hidden = state.chosen === OWN || !data.source;
  stepper.show(data.index, data.n_rows);
  editor.show(state.chosen === OWN ? data.wrong : null);
  const problem = data.wrong
    ? [problemBox((data.wrong.line ? `Line ${data.wrong.line}: ` : "") + data.wrong.message, data.wrong.fix)]
    : data.problem ? [problemBox(data.problem.message, data.problem.fix)] : [];
  const notes = data.note ? [make("p", "s-note", data.note)] : [];
  shown.replaceChildren(...problem, ...notes, ...(data.runs.length ? text(data) : []), ...prompt(data));
  marks();
};
async function load() {
  if (!state.about.dataset || !state.about.model) return;
  shown.setAttribute("aria-busy", "true");
  const first = state.kept === null;
  const data = await askLook({ ...state.about, index: stepper.index, template: first ? null : wanted() });
  if (data === null) return;
  shown.removeAttribute("aria-busy");
  if (data.error) {
    shown.replaceChildren(problemBox(data.error, data.fix));
    return;
  }
  draw(data);
  // Another window has kept another one.
  if (wanted() !== data.template) load();
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
    const chosen = window.studioRows.chosen;
    Object.assign(state, { kept: null, chosen: "", draft: null });
    stepper.index = chosen && chosen.dataset === value.dataset ? chosen.index : 0;
  }
  state.about = { ...value };
  // A gallery template that is being chosen is what shall be kept; else the recipe says it.
  load();
};
watch("value", refresh);
refresh();
