// The mix: a line for each dataset with its share, and one to add another.
// Builds on elements.js and shape_figures.js.
const askParts = asker("parts");
const state = { about: {}, parts: null, figures: null };
const lines = make("ul", "s-mix-list");
const adding = make("div", "s-actions s-mix-add");
const choice = make("select", "s-select");
choice.setAttribute("aria-label", "Dataset to add to the mix");
const share = make("input", "s-number");
const add = button("Add to the mix", () => {
  trigger("submit", { action: "add", dataset: choice.value, share: Number(share.value) / 100 });
});
const label = make("label", "s-mix-share");
label.append(share, " % of training rows");
adding.append(choice, label, add);
const empty = make("p", "s-note", "Nothing is mixed in. Rows of other datasets are used for training only; validation and test rows stay this dataset's own.");
element.replaceChildren(empty, lines, adding);
Object.assign(share, { type: "number", min: 0, max: 90, step: 1, value: 10 });

const counts = (place) => {
  const part = state.figures && state.figures.parts[place + 1];
  if (!part) return "counting …";
  const words = [`${rowsWord(part.n_train)} of its ${count(part.n_available)} training rows`];
  if (part.n_distinct < part.n_train) words.push(`${count(part.n_distinct)} different ones`);
  return words.join(", ");
};
const own = () => {
  const part = state.figures && state.figures.parts[0];
  const line = make("li", "s-mix-line");
  line.append(make("b", "", "This dataset"), make("span", "s-note", part ? rowsWord(part.n_train) : "counting …"));
  return line;
};
const line = ([name, value], place) => {
  const box = make("li", "s-mix-line");
  const field = make("input", "s-number");
  Object.assign(field, { type: "number", min: 0, max: 90, step: 1, value: Math.round(value * 1000) / 10 });
  field.setAttribute("aria-label", `Share of ${name} in percent`);
  field.addEventListener("change", () => {
    trigger("submit", { action: "share", place, share: Number(field.value) / 100 });
  });
  const words = make("label", "s-mix-share");
  words.append(field, " %");
  box.append(
    make("b", "", name), words, make("span", "s-note", counts(place)),
    button("Remove", () => trigger("submit", { action: "remove", place }), "s-link"),
  );
  return box;
};
const draw = () => {
  if (!state.parts) return;
  const busy = lines.contains(document.activeElement) && document.activeElement.matches("input");
  empty.hidden = state.parts.parts.length > 0;
  // Typing in a share is not disturbed by counts that arrive meanwhile.
  if (!busy) lines.replaceChildren(...(state.parts.parts.length ? [own()] : []), ...state.parts.parts.map(line));
};
const load = async () => {
  const dataset = state.about.dataset;
  if (!dataset) return;
  const answer = await askParts({ dataset });
  if (answer === null) return;
  if (answer.error) {
    lines.replaceChildren(problemBox(answer.error, answer.fix));
    return;
  }
  state.parts = answer;
  const chosen = choice.value;
  choice.replaceChildren(...answer.others.map(([id, name]) => new Option(name, id)));
  if ([...choice.options].some((one) => one.value === chosen)) choice.value = chosen;
  adding.hidden = !answer.others.length;
  draw();
};
onFigures(({ dataset, answer }) => {
  if (dataset !== state.about.dataset) return;
  state.figures = answer.figures;
  draw();
});
const refresh = () => {
  state.about = { ...(props.value || {}) };
  state.figures = null;
  load();
};
watch("value", refresh);
refresh();
