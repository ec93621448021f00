// Which run: a native list, asked for anew every three seconds while it is on screen.

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

const field = make("label", "run-picker");
const title = make("span", "run-picker-title", "Run");
const help = make("span", "s-note", props.help);
const list = make("select");
field.append(title, help, list);
const empty = make("div", "s-empty");
const [heading, ...rest] = props.empty.split(". ");
empty.append(make("strong", "", `${heading}.`), make("p", "", rest.join(". ")));
field.hidden = empty.hidden = true;
element.replaceChildren(field, empty);

function draw() {
  const key = JSON.stringify(rows);
  if (rows !== null && key !== shownRows) {
    shownRows = key;
    list.replaceChildren(
      ...rows.map((row) => {
        const option = make("option", "", row.words);
        option.value = row.id;
        return option;
      }),
    );
    field.hidden = rows.length === 0;
    empty.hidden = rows.length > 0;
  }
  list.value = props.value;
}

async function ask() {
  if (asking || document.hidden || element.offsetParent === null) return;
  asking = true;
  try {
    const reply = await server.choices({});
    if (!reply.error) rows = reply.rows;
  } catch (error) {
    // The header says that the studio does not answer; the list keeps what it knows.
  } finally {
    asking = false;
  }
  draw();
  if (rows === null || rows.some((row) => row.id === props.value)) return;
  if (rows.length > 0 || props.value) trigger("arrive", { run: rows.length ? rows[0].id : "" });
}

list.addEventListener("change", () => trigger("pick", { run: list.value }));
watch("value", draw);
const clock = setInterval(() => {
  if (element.isConnected) ask();
  else clearInterval(clock);
}, EVERY_MS);
document.addEventListener("visibilitychange", ask);
ask();
