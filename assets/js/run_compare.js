// Runs side by side. Which ones is told by the table of all runs (studio:runs-chosen); words and
// figure are made in Python (components/runs/compare_runs.py). Empty until two are chosen.

const ACTIVE_MS = 2000;
const IDLE_MS = 6000;
let chosen = [];
let state = null;
let figure = null; // comes only where it is not the one that was drawn
let drawnKey = "";
let figureKey = "";
const question = asker("compared");

const isDark = () => document.body.classList.contains("dark");

const card = make("section", "s-card compare-runs");
const heading = make("div", "s-heading");
heading.append(make("h2", "", "Side by side"), button("Close", () => tell("runs-clear", {}), "chart-button"));
const problem = make("div");
const plots = make("div", "compare-plots");
const plotOf = (words) => {
  const node = make("div", "compare-plot");
  node.setAttribute("role", "img");
  node.setAttribute("aria-label", `${words} loss of the chosen runs by step`);
  plots.append(node);
  return node;
};
const places = { validation: plotOf("Validation"), train: plotOf("Train") };
const results = make("div", "compare-table");
const settings = make("div", "compare-table");
const notes = make("div", "s-note");
card.append(heading, problem, plots, results, settings, notes);

function resultRow(row) {
  const line = make("tr");
  const name = make("th");
  name.scope = "row";
  const show = () => {
    trigger("pick", { run: row.run });
    window.scrollTo({ top: 0, behavior: "smooth" });
  };
  name.append(button(row.name, show, "run-pick"));
  const standing = make("td");
  standing.append(badgeOf(row));
  const cells = row.cells.map(({ text, best }) => make("td", best ? "best" : "", best ? `${text} ★` : text));
  line.append(name, standing, ...cells);
  [...line.children].forEach((cell, i) => (cell.dataset.label = state.results.columns[i]));
  return line;
}

function settingRow(row) {
  const line = make("tr");
  row.forEach((text, i) => {
    const cell = make(i === 0 ? "th" : "td", "", text);
    if (i === 0) cell.scope = "row";
    cell.dataset.label = state.settings.columns[i];
    line.append(cell);
  });
  return line;
}

function drawTables() {
  const { results: came, settings: differ } = state;
  results.replaceChildren(
    tableOf("run-table", "What came of each run; ★ is the best of a column", came.columns, came.rows.map(resultRow)),
  );
  const title = make("h3", "", "Only what differs");
  const table = differ.rows.length
    ? tableOf("run-table", "Settings that are not the same", differ.columns, differ.rows.map(settingRow))
    : make("p", "s-note", "The settings are the same in all of them.");
  settings.replaceChildren(title, table);
  notes.replaceChildren(...state.notes.map((text) => make("p", "", text)));
}

function drawFigure() {
  if (!figure || !window.Plotly) return;
  const key = `${isDark()} ${state.drawn}`;
  if (key === figureKey) return;
  figureKey = key;
  const shown = JSON.parse(JSON.stringify(figure[isDark() ? "dark" : "light"]));
  for (const [name, node] of Object.entries(places)) {
    const layout = { ...shown[name].layout, autosize: true, uirevision: chosen.join() };
    Plotly.react(node, shown[name].data, layout, { displayModeBar: false, responsive: true });
  }
}

function draw() {
  if (chosen.length < 2 || state === null) return element.replaceChildren();
  if (!card.isConnected) {
    element.replaceChildren(card);
    figureKey = "";
  }
  const key = JSON.stringify([state.results, state.settings, state.notes]);
  if (key !== drawnKey) {
    drawnKey = key;
    drawTables();
  }
  drawFigure();
}

async function ask() {
  if (chosen.length < 2 || document.hidden || !element.isConnected) return;
  const reply = await question({ runs: chosen, drawn: state?.drawn });
  if (reply === null) return; // others were chosen meanwhile
  if (reply.error) {
    problem.replaceChildren(problemBox(reply.error, reply.fix));
    if (!card.isConnected) element.replaceChildren(card);
    return;
  }
  problem.replaceChildren();
  ({ figure = figure, ...state } = reply);
  draw();
}

hear("runs-chosen", ({ runs }) => {
  chosen = runs;
  ask();
  draw();
});

let last = 0;
const clock = setInterval(() => {
  if (!element.isConnected) {
    theme.disconnect();
    return clearInterval(clock);
  }
  if (element.offsetParent === null) return;
  if (Date.now() - last < (state?.active ? ACTIVE_MS : IDLE_MS)) return;
  last = Date.now();
  ask();
}, 500);
const theme = new MutationObserver(() => state && draw());
theme.observe(document.body, { attributeFilter: ["class"] });
