// The table of all runs. Rows are words made in Python (components/runs/history.py); the script
// asks for them every three seconds while the table is on screen, and says which one was picked.

const EVERY_MS = 3000;
let rows = null;
let asking = false;
let again = false;
let shownRows = "";
let ticked = []; // ids to compare, in the order in which they were ticked

const bar = make("div", "run-search");
const words = make("input");
words.type = "search";
words.id = "run-search";
words.placeholder = "Search name, model, data, tags, notes";
words.setAttribute("aria-label", "Search the runs");
const archived = make("input");
archived.type = "checkbox";
archived.id = "run-archived";
const archivedLabel = make("label", "s-check");
archivedLabel.append(archived, "Archived, too");
const hint = make("span", "s-note run-ticks");
hint.setAttribute("aria-live", "polite");
bar.append(words, archivedLabel, hint);
const place = make("div");

function pick(id) {
  trigger("pick", { run: id });
}

function tick(id, on) {
  ticked = on ? [...ticked, id] : ticked.filter((other) => other !== id);
  tell("runs-chosen", { runs: ticked });
  draw();
}

function tickBox(row) {
  const box = make("input");
  box.type = "checkbox";
  box.className = "run-tick";
  box.checked = ticked.includes(row.id);
  box.disabled = !box.checked && ticked.length >= props.most;
  box.setAttribute("aria-label", `Compare ${row.cells[0]}`);
  box.title = "Compare with other ticked runs";
  box.addEventListener("click", (event) => event.stopPropagation()); // it does not pick the run
  box.addEventListener("change", () => tick(row.id, box.checked));
  return box;
}

function nameCell(row, chosen) {
  const cell = make("th");
  cell.scope = "row";
  const name = button(row.cells[0], () => {}, "run-pick"); // a click anywhere in the row picks it
  if (row.notes) name.title = row.notes;
  if (chosen) name.setAttribute("aria-current", "true");
  cell.append(tickBox(row), name, ...row.tags.map((tag) => make("span", "run-tag", tag)));
  return cell;
}

function stateCell(row) {
  const cell = make("td");
  cell.append(badgeOf(row));
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
  const key = JSON.stringify([props.value, rows, ticked]);
  if (rows === null || key === shownRows) return;
  shownRows = key;
  const active = element.contains(document.activeElement) ? document.activeElement : null;
  const focused = active?.closest("tr")?.dataset.run;
  const part = active?.type === "checkbox" ? "input" : "button";
  hint.textContent =
    ticked.length === 1 ? "Tick another run to compare it with." : ticked.length ? `${ticked.length} compared` : "";
  const found = rows.filter((row) => !row.left_out);
  const caption = "All runs, newest first";
  const table = tableOf("run-table", caption, props.columns, found.map(bodyRow));
  const none = make("p", "s-note", "No run holds all of these words.");
  place.replaceChildren(found.length || !rows.length ? table : none);
  bar.hidden = !rows.length;
  if (!bar.isConnected) element.replaceChildren(bar, place);
  if (focused) element.querySelector(`tr[data-run="${focused}"] ${part}`)?.focus();
}

async function ask() {
  again = asking;
  if (asking || document.hidden || !element.isConnected) return;
  if (element.offsetParent === null) return;
  asking = true;
  try {
    const asked = { words: words.value, archived: archived.checked };
    const reply = await server.runs(asked);
    if (!reply.error) {
      rows = reply.rows;
      const left = ticked.filter((id) => rows.some((row) => row.id === id));
      if (left.length < ticked.length) tell("runs-chosen", { runs: (ticked = left) });
    }
  } catch (error) {
    // The header says that the studio does not answer; the table keeps what it knows.
  } finally {
    asking = false;
  }
  if (again) return ask(); // it was asked for something else meanwhile
  draw();
  if (rows === null || rows.some((row) => row.id === props.value)) return;
  const offered = rows.find((row) => row.active) || rows.find((row) => !row.left_out) || rows[0];
  if (offered || props.value) trigger("arrive", { run: offered ? offered.id : "" });
}

element.addEventListener("click", (event) => {
  const line = event.target.closest("tr[data-run]");
  if (!line) return;
  pick(line.dataset.run);
  window.scrollTo({ top: 0, behavior: "smooth" });
});
hear("runs-clear", () => {
  ticked = [];
  tell("runs-chosen", { runs: ticked });
  draw();
});
let typing;
words.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(ask, 250);
});
archived.addEventListener("change", ask);
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
