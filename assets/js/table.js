// One page of rows: search, pages, selection by mouse and by keyboard.
// In scope: element, props, trigger, watch, server.
const make = (tag, className, text) => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};
const button = (label, action) => {
  const node = make("button", "s-button", label);
  node.type = "button";
  node.addEventListener("click", action);
  return node;
};
const count = (n) => n.toLocaleString("en-US");

const search = make("input", "s-search");
search.type = "search";
search.placeholder = "Search all columns";
search.setAttribute("aria-label", "Search all columns");
const pageInput = make("input", "s-page-number");
pageInput.type = "number";
pageInput.min = 1;
pageInput.setAttribute("aria-label", "Page");
const previous = button("Previous", () => load(state.page - 1));
const next = button("Next", () => load(state.page + 1));
const bar = make("div", "s-table-bar");
bar.append(search, pageInput, previous, next);

const scroll = make("div", "s-table-scroll");
const table = make("table", "s-table");
table.setAttribute("aria-label", "Rows of the dataset. Arrow keys move, Enter chooses.");
const head = make("thead");
const body = make("tbody");
table.append(head, body);
scroll.append(table);

const foot = make("div", "s-table-foot s-note");
const total = make("span");
total.setAttribute("role", "status");
const where = make("span");
foot.append(total, where);
element.replaceChildren(bar, scroll, foot);

const state = { dataset: "", page: 1, selected: null, asked: 0 };

let telling;
const choose = (row, focus) => {
  for (const other of body.rows) {
    const chosen = other === row;
    other.setAttribute("aria-selected", chosen ? "true" : "false");
    other.tabIndex = chosen ? 0 : -1;
  }
  if (focus) row.focus();
  const index = Number(row.dataset.index);
  if (state.selected === index) return;
  state.selected = index;
  // A key that is held down asks for the row it ends on, not for each one on its way.
  clearTimeout(telling);
  telling = setTimeout(() => trigger("select", { row: index }), 80);
};

const drawRow = (row) => {
  const line = make("tr");
  line.dataset.index = row.index;
  line.tabIndex = -1;
  line.append(make("td", "s-row-number", count(row.index + 1)));
  for (const cell of row.cells) {
    const box = make("td", "", cell);
    if (cell.length > 40) box.title = cell;
    line.append(box);
  }
  line.addEventListener("click", () => choose(line, false));
  return line;
};

const draw = (data) => {
  const titles = make("tr");
  titles.append(make("th", "s-row-number", "#"), ...data.columns.map((name) => make("th", "", name)));
  for (const title of titles.cells) title.scope = "col";
  head.replaceChildren(titles);
  body.replaceChildren(...data.rows.map(drawRow));
  table.style.minWidth = `${60 + 130 * Math.min(data.columns.length, 12)}px`;
  state.page = data.page;
  pageInput.value = data.page;
  pageInput.max = data.n_pages;
  previous.disabled = data.page <= 1;
  next.disabled = data.page >= data.n_pages;
  const rows = `${count(data.n_rows)} ${data.n_rows === 1 ? "row" : "rows"}`;
  total.textContent = search.value
    ? `${count(data.n_found)} of ${rows} contain "${search.value}"`
    : rows;
  where.textContent = `page ${count(data.page)} of ${count(data.n_pages)}`;
  const shown = [...body.rows].find((line) => Number(line.dataset.index) === state.selected);
  if (shown) shown.setAttribute("aria-selected", "true");
  if (body.rows.length) (shown || body.rows[0]).tabIndex = 0;
};

const load = async (page) => {
  if (!state.dataset) return;
  const asked = ++state.asked;
  scroll.setAttribute("aria-busy", "true");
  let data;
  try {
    data = await server.rows({ dataset: state.dataset, page, query: search.value });
  } catch {
    data = { error: "The studio does not answer.", fix: "Is it still running? Reload the page." };
  }
  if (asked !== state.asked) return; // a newer question is on its way
  scroll.removeAttribute("aria-busy");
  if (data.error) {
    body.replaceChildren();
    total.textContent = `${data.error} ${data.fix}`;
    return;
  }
  draw(data);
};

let typing;
search.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => load(1), 250);
});
pageInput.addEventListener("change", () => load(Number(pageInput.value) || 1));

body.addEventListener("keydown", async (event) => {
  const line = event.target.closest("tr");
  if (!line) return;
  const rows = [...body.rows];
  const place = rows.indexOf(line);
  const moves = { ArrowDown: place + 1, ArrowUp: place - 1, Home: 0, End: rows.length - 1 };
  if (event.key in moves) {
    event.preventDefault();
    const target = rows[moves[event.key]];
    if (target) choose(target, true);
  } else if (event.key === "Enter" || event.key === " ") {
    event.preventDefault();
    choose(line, true);
  } else if (event.key === "PageDown" || event.key === "PageUp") {
    event.preventDefault();
    const page = state.page + (event.key === "PageDown" ? 1 : -1);
    if (page < 1 || page > Number(pageInput.max)) return;
    await load(page);
    if (body.rows.length) choose(body.rows[0], true);
  }
});

const show = () => {
  const value = props.value || {};
  const changed = value.dataset !== state.dataset;
  state.dataset = value.dataset || "";
  if (changed) {
    search.value = "";
    state.selected = value.dataset ? 0 : null; // the tab shows the first row by itself
    load(1);
  } else {
    load(state.page);
  }
};
watch("value", show);
show();
