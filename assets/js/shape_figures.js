// Part of the scripts of the Shape view: the figures of the prepared set, asked for by one of them
// (prepared_set.js) and heard by all. Builds on elements.js.
window.studioShape = window.studioShape || { dataset: "", answer: null };
const onFigures = (action) => {
  hear("shape-figures", action);
  if (window.studioShape.answer) action(window.studioShape);
};
const tellFigures = (dataset, answer) => {
  window.studioShape = { dataset, answer };
  tell("shape-figures", window.studioShape);
};
const rowsWord = (n) => `${count(n)} row${n === 1 ? "" : "s"}`;
const percent = (n, of) => (of ? `${((100 * n) / of).toFixed(n && n < of / 100 ? 1 : 0)} %` : "");
