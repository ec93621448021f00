// The table's filters: a fold-out with one control each, and a chip for each that is on.
// Builds on elements.js. Gives: filterBox, chips, filters.
const filters = { on: {}, shown: {}, changed: () => {} };
const TITLES = {
  state: "Changes", source: "File", characters: "Characters", tokens: "Tokens", turns: "Turns",
  role: "Role", script: "Script", label: "Label", finding: "Finding",
};
const filterBox = make("details", "s-filters");
const filterTitle = make("summary", "", "Filters");
const filterGrid = make("div", "s-filter-grid");
const filterNote = make("p", "s-note");
filterBox.append(filterTitle, filterGrid, filterNote);
const chips = make("div", "s-chips");
chips.setAttribute("role", "group");
chips.setAttribute("aria-label", "Filters that are on");

const filterText = (name, value) => {
  if (!Array.isArray(value)) {
    const known = (filters.words?.[name] || []).find(([one]) => one === value);
    return `${TITLES[name]}: ${known ? known[1] : value || "(empty)"}`;
  }
  const [low, high] = value;
  if (low !== null && low === high) return `${TITLES[name]}: ${count(low)}`;
  if (high === null) return `${TITLES[name]}: ${count(low)} and more`;
  return `${TITLES[name]}: ${low === null ? "up to " : `${count(low)} to `}${count(high)}`;
};

const setFilter = (name, value) => {
  if (value === undefined) delete filters.on[name];
  else filters.on[name] = value;
  drawFilters();
  filters.changed();
};

const drawFilters = () => {
  const names = Object.keys(filters.on);
  filterTitle.textContent = names.length ? `Filters (${names.length})` : "Filters";
  chips.replaceChildren(
    ...names.map((name) => {
      const text = filterText(name, filters.on[name]);
      const chip = button(`${text} ✕`, () => setFilter(name), "s-chip");
      chip.setAttribute("aria-label", `Take away the filter ${text}`);
      return chip;
    }),
  );
  if (names.length > 1) {
    chips.append(button("Clear all", () => {
      filters.on = {};
      drawFilters();
      filters.changed();
    }, "s-link"));
  }
  for (const control of Object.values(filters.shown)) control.show();
  tell("row-filters", { filters: { ...filters.on } });
  window.studioRows.filters = { ...filters.on };
};

const labelled = (title, ...controls) => {
  const box = make("div", "s-filter");
  box.append(make("span", "s-filter-name", title), ...controls);
  return box;
};

const wordFilter = (name, items) => {
  const choice = make("select", "s-select");
  choice.setAttribute("aria-label", TITLES[name]);
  choice.append(new Option("any", ""));
  items.forEach(([, label, n], place) =>
    choice.append(new Option(`${label || "(empty)"} (${count(n)})`, String(place + 1))));
  choice.addEventListener("change", () =>
    setFilter(name, choice.value ? items[Number(choice.value) - 1][0] : undefined));
  const show = () => {
    const place = items.findIndex(([value]) => value === filters.on[name]);
    choice.value = place < 0 ? "" : String(place + 1);
  };
  return { box: labelled(TITLES[name], choice), show };
};

const numberFilter = (name) => {
  const ends = ["from", "to"].map((word) => {
    const input = make("input", "s-number");
    input.type = "number";
    input.min = 0;
    input.placeholder = word;
    input.setAttribute("aria-label", `${TITLES[name]} ${word}`);
    return input;
  });
  const read = () => {
    const range = ends.map((input) => (input.value === "" ? null : Number(input.value)));
    setFilter(name, range.every((end) => end === null) ? undefined : range);
  };
  for (const input of ends) input.addEventListener("change", read);
  const show = () => {
    const range = filters.on[name] || [null, null];
    ends.forEach((input, place) => { input.value = range[place] ?? ""; });
  };
  const pair = make("span", "s-range");
  pair.append(...ends);
  return { box: labelled(TITLES[name], pair), show };
};

// Controls for what this dataset can be filtered by; `given` is the answer of server.filters.
const offerFilters = (given) => {
  filters.words = given.words;
  const numbers = given.has_figures ? ["characters", "tokens", "turns"] : ["characters"];
  filters.shown = Object.fromEntries([
    ...numbers.map((name) => [name, numberFilter(name)]),
    ...Object.entries(given.words).map(([name, items]) => [name, wordFilter(name, items)]),
  ]);
  const order = Object.keys(TITLES).filter((name) => name in filters.shown);
  filterGrid.replaceChildren(...order.map((name) => filters.shown[name].box));
  filterNote.textContent = given.has_figures
    ? ""
    : "Tokens, turns, roles, scripts, labels and findings can be filtered by after a checkup.";
  filterNote.hidden = given.has_figures;
  drawFilters();
};

hear("row-filter", ({ name, value, set }) => {
  if (set) openRows();
  setFilter(name, !set && sameFilter(filters.on[name], value) ? undefined : value);
});
