// Which types to export: a table with a box for each, its size known before any work. What is
// ticked is kept in the element's value, where the Export button reads it.

const make = (tag, className, text) => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};

let all = false;
const UNITS = ["B", "KB", "MB", "GB", "TB"];
function words(bytes) {
  let unit = 0;
  while (bytes >= 1000 && unit < UNITS.length - 1) {
    bytes /= 1000;
    unit += 1;
  }
  return `${unit ? bytes.toPrecision(3) : bytes} ${UNITS[unit]}`;
}

const sum = make("p", "s-note export-sum");
sum.setAttribute("role", "status");

function showSum() {
  const { rows, chosen } = props.value;
  const picked = rows.filter((row) => chosen.includes(row.type));
  const bytes = picked.reduce((total, row) => total + row.bytes, 0);
  sum.textContent = picked.length
    ? `${picked.length} ${picked.length === 1 ? "file" : "files"}, ${words(bytes)} together.`
    : "Tick at least one type.";
}

function tick(type, on) {
  const rest = props.value.chosen.filter((other) => other !== type);
  props.value = { ...props.value, chosen: on ? [...rest, type] : rest };
  showSum();
}

function bodyRow(row) {
  const line = make("tr");
  // A ticked one is never out of sight.
  line.hidden = !row.usual && !all && !props.value.chosen.includes(row.type);
  const first = make("th");
  first.scope = "row";
  const label = make("label", "export-type");
  const box = make("input");
  box.type = "checkbox";
  box.checked = props.value.chosen.includes(row.type);
  box.addEventListener("change", () => tick(row.type, box.checked));
  label.append(box, row.type);
  first.append(label);
  line.append(first, make("td", "num", row.size), make("td", "num", row.bits));
  line.append(make("td", "num", row.memory), make("td", "", row.fits), make("td", "", row.advice));
  props.columns.forEach((title, i) => (line.children[i].dataset.label = title));
  return line;
}

const more = make("button", "chart-button export-more");
more.type = "button";
more.addEventListener("click", () => {
  all = !all;
  draw();
});

let shown = "";
function draw() {
  const key = JSON.stringify([props.value.rows, all]);
  if (key !== shown) {
    shown = key;
    element.replaceChildren();
    if (props.value.rows.length) {
      const table = make("table", "export-table");
      const titles = make("tr");
      for (const title of props.columns) {
        const cell = make("th", "", title);
        cell.scope = "col";
        titles.append(cell);
      }
      const head = make("thead");
      head.append(titles);
      const body = make("tbody");
      body.append(...props.value.rows.map(bodyRow));
      table.append(make("caption", "s-visually-hidden", "Types to export"), head, body);
      const rest = props.value.rows.filter((row) => !row.usual).length;
      more.textContent = all ? "Show the usual types alone" : `Show ${rest} more types`;
      more.setAttribute("aria-expanded", String(all));
      element.append(table, more);
      if (props.value.note) element.append(make("p", "s-note", props.value.note));
      element.append(sum);
    }
  }
  showSum();
}

watch("value", draw);
draw();
