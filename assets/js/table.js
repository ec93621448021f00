// One page of rows: search, filters, order, pages, selection by mouse and by keyboard.
// Builds on elements.js and table_filters.js.
const input = (type, className, label, placeholder) => {
  const node = make("input", className);
  node.type = type;
  node.setAttribute("aria-label", label);
  if (placeholder) node.placeholder = placeholder;
  return node;
};
const search = input("search", "s-search", "Search all columns", "Search all columns (press /)");
const rowInput = input("number", "s-page-number", "Go to row", "Row");
rowInput.min = 1;
const order = make("select", "s-select s-order");
order.setAttribute("aria-label", "Order");
const bar = make("div", "s-table-bar");
bar.append(search, order, rowInput);

const scroll = make("div", "s-table-scroll");
const table = make("table", "s-table");
table.setAttribute("role", "grid");
table.setAttribute(
  "aria-label",
  "Rows of the dataset. Arrow keys or J and K move, Page Up and Page Down turn pages, Home and " +
    "End go to the first and last page, Enter opens the row.",
);
const widths = make("colgroup");
const head = make("thead");
const body = make("tbody");
table.append(widths, head, body);
scroll.append(table);

const previous = button("Previous", () => load(state.page - 1));
const next = button("Next", () => load(state.page + 1));
const pageInput = input("number", "s-page-number", "Page");
pageInput.min = 1;
const total = make("span", "s-total");
total.setAttribute("role", "status");
const where = make("span");
const turning = make("span", "s-turning");
turning.append(previous, pageInput, where, next);
const foot = make("div", "s-table-foot s-note");
foot.append(total, turning);
element.replaceChildren(bar, filterBox, chips, scroll, foot);

const ORDERS = [
  ["row", "Row number"], ["-row", "Last row first"],
  ["-characters", "Most characters"], ["characters", "Fewest characters"],
  ["-tokens", "Most tokens"], ["tokens", "Fewest tokens"],
];
const WIDTHS = { row: 66, number: 94, short: 124, text: 150 };
const state = { about: { dataset: "" }, page: 1, n_pages: 1, first: 0, n_found: 0, selected: null };
const askRows = asker("rows");
const askFilters = asker("filters");

let telling;
const tellChosen = (line) => {
  const place = state.first + [...body.rows].indexOf(line);
  const chosen = { dataset: state.about.dataset, index: state.selected, place, n_found: state.n_found };
  window.studioRows.chosen = chosen;
  tell("row-chosen", chosen);
};
const mark = (chosen) => {
  for (const line of body.rows) {
    line.setAttribute("aria-selected", line === chosen ? "true" : "false");
    line.tabIndex = -1;
  }
  if (chosen || body.rows[0]) (chosen || body.rows[0]).tabIndex = 0;
};
const choose = (line, focus) => {
  mark(line);
  if (focus) line.focus();
  state.selected = Number(line.dataset.index);
  // A key that is held down asks for the row it ends on, not for each one on its way.
  clearTimeout(telling);
  telling = setTimeout(() => tellChosen(line), 60);
};

const drawRow = (row, columns, place) => {
  const line = make("tr", row.state ? `is-${row.state}` : "");
  line.dataset.index = row.index;
  line.setAttribute("aria-rowindex", state.first + place + 2);
  row.cells.forEach((cell, at) => {
    const kind = columns[at].kind;
    const box = make("td", kind === "text" || kind === "short" ? "" : `s-${kind}-cell`);
    if (!at && row.state) {
      box.append(make("span", "", cell), make("span", "s-row-state", row.state));
    } else {
      box.textContent = cell;
    }
    if (cell.length > 24) box.title = cell;
    line.append(box);
  });
  line.addEventListener("click", () => choose(line, false));
  return line;
};

const drawTitle = (column) => {
  const title = make("th", column.kind === "row" || column.kind === "number" ? `s-${column.kind}-cell` : "");
  title.scope = "col";
  if (!column.order) {
    title.textContent = column.label;
    title.title = column.label;
    return title;
  }
  const now = state.order === column.order ? "ascending" : state.order === `-${column.order}` ? "descending" : "none";
  title.setAttribute("aria-sort", now);
  const sign = { ascending: " ▲", descending: " ▼", none: "" }[now];
  // Sizes are asked for from the largest on; a row's number from the first on.
  const ways = column.order === "row" ? ["row", "-row"] : [`-${column.order}`, column.order];
  title.append(
    button(`${column.label}${sign}`, () => sort(state.order === ways[0] ? ways[1] : ways[0]), "s-sort"),
  );
  return title;
};

const sort = (by) => {
  state.order = by;
  order.value = by;
  load(1);
};

const words = (data) => {
  const rows = `${count(data.n_rows)} ${data.n_rows === 1 ? "row" : "rows"}`;
  const removed = data.n_removed ? `, ${count(data.n_removed)} removed` : "";
  const searched = search.value.trim();
  const parts = [];
  if (searched) parts.push(`contain "${searched}"`);
  if (Object.keys(filters.on).length) parts.push(`${searched ? "and " : ""}match the filters`);
  const said = parts.length ? `${count(data.n_found)} of ${rows} ${parts.join(" ")}` : rows + removed;
  const notes = [];
  if (data.missed !== null) notes.push(`Row ${count(data.missed + 1)} is not among them.`);
  if (data.needs_checkup) notes.push("The filters by figures need a checkup of the data as it is now.");
  if (data.as_read) notes.push("Most rows are changed: search and lengths are those of the file.");
  return [said, ...notes].join(". ").replaceAll("..", ".");
};

const draw = (data) => {
  Object.assign(state, { page: data.page, n_pages: data.n_pages, first: data.first, n_found: data.n_found });
  const titles = make("tr");
  titles.append(...data.columns.map(drawTitle));
  head.replaceChildren(titles);
  widths.replaceChildren(
    ...data.columns.map((column) => {
      const one = make("col");
      // Columns of text share what is left of the width.
      if (column.kind !== "text") one.style.width = `${WIDTHS[column.kind]}px`;
      return one;
    }),
  );
  const narrowest = data.columns.reduce((sum, column) => sum + (WIDTHS[column.kind] || 0), 0);
  table.style.minWidth = `${narrowest}px`;
  table.setAttribute("aria-rowcount", data.n_found + 1);
  body.replaceChildren(...data.rows.map((row, place) => drawRow(row, data.columns, place)));
  pageInput.value = data.page;
  pageInput.max = data.n_pages;
  rowInput.max = data.n_rows;
  previous.disabled = data.page <= 1;
  next.disabled = data.page >= data.n_pages;
  where.textContent = `page ${count(data.page)} of ${count(data.n_pages)}`;
  total.textContent = words(data);
  if (!data.rows.length) {
    const empty = make("td", "s-no-rows", "No row is like this. Take a filter away or search for something else.");
    empty.colSpan = data.columns.length;
    const line = make("tr");
    line.append(empty);
    body.replaceChildren(line);
  } else {
    mark([...body.rows].find((line) => Number(line.dataset.index) === state.selected));
  }
};

// Shows a page, or with `find` the page of the row with this index. Gives whether it was drawn.
const load = async (page, find = null) => {
  if (!state.about.dataset) return false;
  scroll.setAttribute("aria-busy", "true");
  const wanted = { query: search.value, filters: { ...filters.on }, order: state.order };
  window.studioRows.wanted = wanted;
  const data = await askRows({ ...state.about, ...wanted, page, find });
  if (data === null) return false; // a newer question is on its way
  scroll.removeAttribute("aria-busy");
  if (data.error) {
    body.replaceChildren();
    total.textContent = `${data.error} ${data.fix}`;
    return false;
  }
  draw(data);
  return true;
};
const chooseOnPage = (place, focus) => {
  const line = body.rows[place < 0 ? body.rows.length - 1 : Math.min(place, body.rows.length - 1)];
  if (line && line.dataset.index !== undefined) choose(line, focus);
};
const turnTo = async (page, place, focus) => {
  if (page < 1 || page > state.n_pages) return;
  if (await load(page)) chooseOnPage(place, focus);
};
const show = async (index) => {
  if (!(await load(state.page, index))) return;
  const line = [...body.rows].find((one) => Number(one.dataset.index) === index);
  if (line) choose(line, false);
  return Boolean(line);
};
// The row before or after the chosen one, over the edge of a page too.
const step = async (by, focus) => {
  const lines = [...body.rows];
  const place = lines.findIndex((line) => Number(line.dataset.index) === state.selected);
  if (place < 0) return chooseOnPage(by > 0 ? 0 : -1, focus);
  const target = lines[place + by];
  if (target) return choose(target, focus);
  await turnTo(state.page + by, by > 0 ? 0 : -1, focus);
};

let typing;
search.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => load(1), 150);
});
search.addEventListener("keydown", (event) => {
  if (event.key === "Enter" || event.key === "ArrowDown") {
    event.preventDefault();
    chooseOnPage(0, true);
  }
});
filters.changed = () => load(1);
order.addEventListener("change", () => sort(order.value));
pageInput.addEventListener("change", () => load(Number(pageInput.value) || 1));
rowInput.addEventListener("change", async () => {
  if (rowInput.value === "") return;
  const index = Number(rowInput.value) - 1;
  rowInput.value = "";
  await show(index);
});

body.addEventListener("keydown", (event) => {
  const line = event.target.closest("tr");
  if (!line || event.ctrlKey || event.metaKey || event.altKey) return;
  const place = [...body.rows].indexOf(line);
  const actions = {
    ArrowDown: () => step(1, true), ArrowUp: () => step(-1, true),
    j: () => step(1, true), k: () => step(-1, true),
    PageDown: () => turnTo(state.page + 1, place, true),
    PageUp: () => turnTo(state.page - 1, place, true),
    Home: () => turnTo(1, 0, true), End: () => turnTo(state.n_pages, -1, true),
    Enter: () => { choose(line, false); document.querySelector("#inspector .s-row-view")?.focus(); },
    " ": () => choose(line, true),
  };
  if (!(event.key in actions)) return;
  event.preventDefault();
  actions[event.key]();
});
hear("slash", (_, event) => {
  const typed = event.target.closest?.("input, textarea, select, [contenteditable=true]");
  if (event.key !== "/" || typed || event.ctrlKey || event.metaKey || !element.offsetParent) return;
  event.preventDefault();
  search.focus();
}, "keydown");
hear("row-step", ({ by, focus }) => step(by, focus));
hear("row-show", async ({ index }) => {
  openRows();
  if (await show(index)) return;
  // The row is not among those shown: take search and filters away.
  search.value = "";
  filters.on = {};
  drawFilters();
  await show(index);
});

const refresh = async () => {
  const value = props.value || {};
  const another = (value.dataset || "") !== state.about.dataset;
  state.about = { dataset: "", ...value };
  if (another) {
    search.value = "";
    filters.on = {};
    Object.assign(state, { page: 1, order: "row", selected: null, figures: false });
    window.studioRows.chosen = null;
    drawFilters();
  }
  if (!state.about.dataset) return;
  const asked = askFilters(state.about);
  const drawn = await load(another ? 1 : state.page);
  // The first row is shown by itself; a newer question may have overtaken the one that began it.
  if (drawn && state.selected === null) chooseOnPage(0, false);
  const given = await asked;
  if (given === null || given.error) return;
  state.figures = given.has_figures;
  offerFilters(given);
  order.replaceChildren(
    ...ORDERS.filter(([by]) => given.has_figures || !by.endsWith("tokens")).map(([by, label]) => new Option(label, by)),
  );
  order.value = state.order;
};
hear("checkup-done", refresh);
hear("row-figures", () => { if (!state.figures) refresh(); });
watch("value", refresh);
refresh();
