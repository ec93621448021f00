// The table of all runs. Rows are words made in Python (components/runs/history.py); the script
// asks for them every three seconds while the table is on screen, and says which one was picked.

const EVERY_MS = 3000;
let rows = null;
let asking = false;
let shownRows = "";

const make = (tag, className, text) => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};

function pick(id) {
  trigger("pick", { run: id });
}

function nameCell(row, chosen) {
  const cell = make("th");
  cell.scope = "row";
  const button = make("button", "run-pick", row.cells[0]);
  button.type = "button";
  if (chosen) button.setAttribute("aria-current", "true");
  cell.append(button);
  return cell;
}

function stateCell(row) {
  const cell = make("td");
  const badge = make("span", `state state-${row.state}`);
  const shape = make("i", "", row.shape);
  shape.setAttribute("aria-hidden", "true");
  badge.append(shape, row.word);
  cell.append(badge);
  return cell;
}

function bodyRow(row) {
  const chosen = row.id === props.value;
  const line = make("tr", chosen ? "chosen" : "");
  line.dataset.run = row.id;
  row.cells.forEach((text, i) => {
    const cell = i === 0 ? nameCell(row, chosen) : i === 1 ? stateCell(row) : make("td", "", text);
    cell.dataset.label = props.columns[i];
    line.append(cell);
  });
  return line;
}

function draw() {
  const key = JSON.stringify([props.value, rows]);
  if (rows === null || key === shownRows) return;
  shownRows = key;
  const focused = element.contains(document.activeElement)
    ? document.activeElement.closest("tr")?.dataset.run
    : null;
  const table = make("table", "run-table");
  const caption = make("caption", "s-visually-hidden", "All runs, newest first");
  const head = make("thead");
  const titles = make("tr");
  for (const title of props.columns) {
    const cell = make("th", "", title);
    cell.scope = "col";
    titles.append(cell);
  }
  head.append(titles);
  const body = make("tbody");
  body.append(...rows.map(bodyRow));
  table.append(caption, head, body);
  element.replaceChildren(table);
  if (focused) element.querySelector(`tr[data-run="${focused}"] button`)?.focus();
}

async function ask() {
  if (asking || document.hidden || !element.isConnected) return;
  if (element.offsetParent === null) return;
  asking = true;
  try {
    const reply = await server.runs({});
    if (!reply.error) rows = reply.rows;
  } catch (error) {
    // The header says that the studio does not answer; the table keeps what it knows.
  } finally {
    asking = false;
  }
  draw();
  if (rows === null || rows.some((row) => row.id === props.value)) return;
  const offered = rows.find((row) => row.active) || rows[0];
  if (offered || props.value) trigger("arrive", { run: offered ? offered.id : "" });
}

element.addEventListener("click", (event) => {
  const line = event.target.closest("tr[data-run]");
  if (!line) return;
  pick(line.dataset.run);
  window.scrollTo({ top: 0, behavior: "smooth" });
});
watch("value", () => {
  draw();
  ask();
});
const clock = setInterval(() => {
  if (element.isConnected) ask();
  else clearInterval(clock);
}, EVERY_MS);
document.addEventListener("visibilitychange", ask);
ask();
