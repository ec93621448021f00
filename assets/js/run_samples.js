// A run's answers to its own prompts, by step (components/runs/samples.py); read again every two
// seconds while the fold is open and on screen.

const EVERY_MS = 2000;
const question = asker("samples");
let shown = "";

function rowOf(cells, columns) {
  const line = make("tr");
  cells.forEach((text, i) => {
    const cell = make(i === 0 ? "th" : "td", "", text || (i === 0 ? "" : "(nothing)"));
    if (i === 0) cell.scope = "row";
    cell.dataset.label = columns[i];
    line.append(cell);
  });
  return line;
}

function draw({ prompts, rows, error, fix }) {
  if (error) return element.replaceChildren(problemBox(error, fix));
  const key = JSON.stringify([prompts, rows]);
  if (key === shown) return;
  shown = key;
  const columns = ["Step", ...prompts];
  const none = make(
    "p",
    "s-note",
    "No answers yet. Prompts to answer while it trains are typed on Train, More about training; " +
      "each is answered after every validation.",
  );
  const table = tableOf("run-table", "Answers by step, the newest first", columns, rows.map((row) => rowOf(row, columns)));
  element.replaceChildren(rows.length ? table : none);
}

async function ask() {
  if (document.hidden || element.offsetParent === null || !props.value) return;
  const reply = await question(props.value);
  if (reply !== null) draw(reply);
}

watch("value", () => {
  shown = "";
  element.replaceChildren();
  ask();
});
const clock = setInterval(() => {
  if (element.isConnected) ask();
  else clearInterval(clock);
}, EVERY_MS);
ask();
