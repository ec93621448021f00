// Rows of each value of the balance column in training, before and after, as bars.
// Builds on elements.js and shape_figures.js.
const box = make("div", "s-balance");
element.replaceChildren(box);
const barOf = (css, n, most, words) => {
  const line = make("div", `s-balance-bar ${css}`);
  const fill = make("span");
  fill.style.width = `${most ? (100 * n) / most : 0}%`;
  line.append(fill, make("b", "s-mono", words));
  return line;
};
onFigures(({ dataset, answer }) => {
  const known = answer.figures;
  if (dataset !== (props.value || {}).dataset || !known) return;
  if (known.balance === "none" || !known.labels.length) {
    box.replaceChildren();
    return;
  }
  const weighted = known.balance === "weights";
  const most = Math.max(...known.labels.map(([, before, after]) => Math.max(before, after)));
  const lines = known.labels.map(([value, before, after, weight]) => {
    const line = make("div", "s-balance-line");
    line.append(
      make("span", "s-balance-name", value || "(no value)"),
      barOf("before", before, most, weighted ? rowsWord(before) : `${count(before)} before`),
      weighted
        ? make("span", "s-note", `each counts ${weight} ×`)
        : barOf("after", after, most, `${count(after)} after`),
    );
    return line;
  });
  const more = known.n_more_labels ? [make("p", "s-note", `… and ${count(known.n_more_labels)} values more`)] : [];
  box.replaceChildren(...lines, ...more);
});
