// Sweeps: which one, how far it is, its figures and its table. Words and figures are made in Python
// (components/runs/sweeps.py); the script asks for them while they are on screen. Hidden where there
// is no sweep.

const ACTIVE_MS = 2000;
const IDLE_MS = 6000;
let state = null;
let figure = null; // comes only where it is not the one that was drawn
let wanted = ""; // the id of the sweep on show, "" for the newest
let asking = false;
let drawnKey = "";
let figureKey = "";

const isDark = () => document.body.classList.contains("dark");

const card = make("section", "s-card sweep-card");
const top = make("div", "sweep-top");
const problem = make("div");
const lines = make("div", "sweep-plot");
const points = make("div", "sweep-plot");
const table = make("div", "sweep-table");
lines.setAttribute("role", "img");
lines.setAttribute("aria-label", "Parallel coordinates: one line a run, through its settings to its loss");
points.setAttribute("role", "img");
points.setAttribute("aria-label", "Validation loss by each setting");
card.append(top, problem, lines, points, table);

function chooser() {
  const label = make("label", "sweep-choice", "Sweep");
  const select = make("select");
  select.id = "sweep-choice";
  for (const sweep of state.sweeps) {
    const option = make("option", "", sweep.words);
    option.value = sweep.id;
    option.selected = sweep.id === state.shown.id;
    select.append(option);
  }
  select.addEventListener("change", () => {
    wanted = select.value;
    ask();
  });
  label.append(select);
  return label;
}

function request(words, event) {
  const act = () => {
    node.disabled = true; // a second click would ask twice
    trigger(event, { sweep: state.shown.id });
  };
  const node = button(words, act, "chart-button");
  return node;
}

// Asks once more in its place.
function removing() {
  const place = make("span", "sweep-remove");
  const ask = () => {
    const sure = request("Yes, delete it; its runs stay", "remove");
    place.replaceChildren(sure, button("Keep it", () => place.replaceChildren(first), "chart-button"));
    sure.focus();
  };
  const first = button("Delete", ask, "chart-button");
  first.setAttribute("aria-label", "Delete this sweep");
  place.append(first);
  return place;
}

function drawTop() {
  const { shown } = state;
  const words = make("p", "sweep-head", shown.head);
  words.setAttribute("aria-live", "polite");
  top.replaceChildren(chooser(), badgeOf(shown), words);
  if (shown.active) top.append(request("Stop the sweep", "stop"));
  if (shown.resumable) top.append(request("Go on", "resume"));
  if (!shown.active) top.append(removing());
  problem.className = shown.problem ? "s-finding bad" : "";
  problem.textContent = shown.problem || "";
}

function rowOf(row) {
  const line = make("tr", row.best ? "chosen" : "");
  row.cells.forEach((text, i) => {
    const cell = make(i === 0 ? "th" : "td");
    cell.dataset.label = state.shown.columns[i];
    if (i === 0) {
      cell.scope = "row";
      const show = () => {
        trigger("pick", { run: row.run });
        window.scrollTo({ top: 0, behavior: "smooth" });
      };
      const pick = button(row.best ? `${text} ★` : text, show, "run-pick");
      pick.disabled = !row.run;
      pick.title = "Show this run above";
      cell.append(pick);
    } else cell.textContent = text;
    line.append(cell);
  });
  return line;
}

function drawTable() {
  const { columns, rows } = state.shown;
  if (!columns) return table.replaceChildren();
  const caption = "The runs of this sweep";
  table.replaceChildren(tableOf("run-table sweep-runs", caption, columns, rows.map(rowOf)));
}

function drawFigures() {
  const nothing = !figure || !state.shown.drawn;
  lines.hidden = points.hidden = nothing;
  if (nothing || !window.Plotly) return;
  const key = `${isDark()} ${state.shown.drawn}`;
  if (key === figureKey) return;
  figureKey = key;
  const options = { displayModeBar: false, responsive: true };
  const shown = JSON.parse(JSON.stringify(figure[isDark() ? "dark" : "light"]));
  for (const [node, one] of [[lines, shown.lines], [points, shown.points]]) {
    Plotly.react(node, one.data, { ...one.layout, autosize: true }, options);
  }
}

function draw() {
  if (state === null) return;
  if (state.shown === null) return element.replaceChildren();
  if (!card.isConnected) element.replaceChildren(card);
  const key = JSON.stringify([state.sweeps, state.shown]);
  if (key !== drawnKey) {
    drawnKey = key;
    drawTop();
    drawTable();
  }
  drawFigures();
}

async function ask() {
  if (asking || document.hidden || !element.isConnected) return;
  if (element.offsetParent === null) return;
  asking = true;
  try {
    const reply = await server.sweeps({ sweep: wanted, drawn: state?.shown?.drawn });
    if (!reply.error) {
      ({ figure = figure, ...state } = reply);
    }
  } catch (error) {
    // The header says that the studio does not answer; what is drawn stays.
  } finally {
    asking = false;
  }
  draw();
}

let last = 0;
const clock = setInterval(() => {
  if (!element.isConnected) {
    theme.disconnect();
    return clearInterval(clock);
  }
  const wait = state?.shown?.active ? ACTIVE_MS : IDLE_MS;
  if (Date.now() - last < wait) return;
  last = Date.now();
  ask();
}, 500);
const theme = new MutationObserver(draw);
theme.observe(document.body, { attributeFilter: ["class"] });
document.addEventListener("visibilitychange", ask);
ask();
