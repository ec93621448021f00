// The charts beside the table. A bar is a button: it filters the table, and once more takes the
// filter away. Builds on elements.js.
const root = make("div", "s-figures");
const note = make("p", "s-note");
// Beside the table always open; on a phone it stands above the table, folded.
const fold = make("details", "s-fold");
fold.open = matchMedia("(min-width: 761px)").matches;
fold.append(make("summary", "", "In figures"), root, note);
element.replaceChildren(fold);
const askCharts = asker("charts");
let complete = false;

const share = (n, all) => `${count(n)} ${n === 1 ? "row" : "rows"}, ${((100 * n) / all).toFixed(n / all < 0.1 ? 1 : 0)} %`;
const bar = (chart, one, all, className) => {
  const node = make(complete ? "button" : "div", className);
  const said = `${chart.title}: ${one.label}, ${share(one.n, all)}`;
  node.title = `${one.label}: ${share(one.n, all)}`;
  if (complete) {
    node.type = "button";
    node.setAttribute("aria-label", said);
    node.dataset.filter = JSON.stringify([chart.name, one.value]);
    node.addEventListener("click", () => tell("row-filter", { name: chart.name, value: one.value }));
  }
  return node;
};

const histogram = (chart, all) => {
  const box = make("div", "s-bars");
  const tallest = Math.max(...chart.bars.map((one) => one.n));
  for (const one of chart.bars) {
    const node = bar(chart, one, all, `s-bar${one.beyond ? " beyond" : ""}`);
    const fill = make("span");
    fill.style.height = `${(100 * one.n) / tallest}%`;
    node.append(fill);
    if (!one.n) {
      node.disabled = true;
      node.tabIndex = -1;
    }
    box.append(node);
  }
  if (chart.cut) {
    const line = make("span", "s-cut");
    line.style.left = `${100 * chart.cut}%`;
    box.append(line);
  }
  const axis = make("div", "s-axis");
  axis.append(make("span", "", "0"), make("span", "", `${chart.end} tokens`));
  return [box, axis];
};

const wordBars = (chart, all) => {
  const tallest = Math.max(...chart.bars.map((one) => one.n));
  return chart.bars.map((one) => {
    const node = bar(chart, one, all, "s-word-bar");
    const fill = make("span", "s-fill");
    fill.style.width = `${(100 * one.n) / tallest}%`;
    node.append(fill, make("span", "s-word", one.label), make("span", "s-n", count(one.n)));
    return node;
  });
};

const drawChart = (chart, all) => {
  const box = make("section", "s-chart");
  box.dataset.chart = chart.name;
  box.append(make("h3", "", chart.title));
  if (chart.facts?.length) {
    const facts = make("dl", "s-facts");
    for (const [name, value] of chart.facts) {
      const pair = make("div");
      pair.append(make("dt", "", name), make("dd", "", value));
      facts.append(pair);
    }
    box.append(facts);
  }
  if (!chart.bars.length) box.append(make("p", "s-note", "No row could be turned into tokens; see the checkup."));
  else box.append(...(chart.name === "tokens" ? histogram(chart, all) : wordBars(chart, all)));
  if (chart.more) box.append(make("p", "s-note", chart.more));
  return box;
};

const press = (filters) => {
  for (const node of root.querySelectorAll("[data-filter]")) {
    const [name, value] = JSON.parse(node.dataset.filter);
    node.setAttribute("aria-pressed", sameFilter(filters[name], value) ? "true" : "false");
  }
};

const refresh = async () => {
  const value = props.value || {};
  if (!value.dataset) return;
  element.setAttribute("aria-busy", "true");
  const data = await askCharts(value);
  if (data === null) return;
  element.removeAttribute("aria-busy");
  if (data.error) {
    root.replaceChildren(problemBox(data.error, data.fix));
    note.textContent = "";
    return;
  }
  complete = data.complete;
  root.replaceChildren(
    ...data.charts.filter((chart) => chart.name === "tokens" || chart.bars.length).map((chart) => drawChart(chart, data.n_looked_at)),
  );
  note.textContent = complete
    ? "Choose a bar to see its rows."
    : `From ${count(data.n_looked_at)} of ${count(data.n_rows)} rows, evenly spaced. A checkup looks at all; then a bar shows its rows.`;
  press(window.studioRows.filters);
  if (complete) tell("row-figures", {});
};
hear("row-filters", ({ filters }) => press(filters));
hear("checkup-done", refresh);
watch("value", refresh);
refresh();
