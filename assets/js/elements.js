// Small tools of the scripts that draw parts of the page: elements, and events between the parts.
// In scope: element, props, trigger, watch, server.
const make = (tag, className, text) => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};
const button = (label, action, className = "s-button") => {
  const node = make("button", className, label);
  node.type = "button";
  node.addEventListener("click", action);
  return node;
};
const badgeOf = ({ state, shape, word }) => {
  const badge = make("span", `state state-${state}`);
  const sign = make("i", "", shape);
  sign.setAttribute("aria-hidden", "true");
  badge.append(sign, word);
  return badge;
};
// Each of `lines` is a row of the body; the titles may be repeated by a cell's data-label.
const tableOf = (className, caption, titles, lines) => {
  const table = make("table", className);
  const head = make("tr");
  for (const title of titles) {
    const cell = make("th", "", title);
    cell.scope = "col";
    head.append(cell);
  }
  const top = make("thead");
  top.append(head);
  const body = make("tbody");
  body.append(...lines);
  table.append(make("caption", "s-visually-hidden", caption), top, body);
  return table;
};
const count = (n) => n.toLocaleString("en-US");

// The parts of the tab speak through events of the document, named "studio:" and then:
//   row-chosen {dataset, index, place, n_found}  the table says which row is chosen
//   row-step {by}                                the row before (-1) or after (1) in its order
//   row-show {index}                             show this row, wherever it is
//   row-filter {name, value, set}                filter by it; the same once more takes it away,
//                                                with `set` it stays and the rows are shown
//   row-filters {filters}                        the table says what it filters by
//   row-figures {}                               every row has figures now: filter by them
//   runs-chosen {runs}                           the table of runs says which ones are ticked
//   runs-clear {}                                untick them all
//   checkup-done {dataset}                       a checkup has its result
const tell = (name, detail) =>
  document.dispatchEvent(new CustomEvent(`studio:${name}`, { detail }));
// A part that the page has drawn anew leaves its old listeners behind: they take themselves away.
const hear = (name, action, type = `studio:${name}`) => {
  const listen = (event) => {
    if (!element.isConnected) document.removeEventListener(type, listen);
    else action(event.detail, event);
  };
  document.addEventListener(type, listen);
};
// What the parts know of each other when one of them is drawn later.
window.studioRows = window.studioRows || { chosen: null, filters: {}, wanted: null };
const openRows = () => document.querySelector("#data-view-rows-button")?.click();

// Asks one server function; the answer of an older question never replaces a newer one's.
const asker = (name) => {
  let newest = 0;
  return async (question) => {
    const mine = ++newest;
    let answer;
    try {
      answer = await server[name](question);
    } catch {
      answer = { error: "The studio does not answer.", fix: "Is it still running? Reload the page." };
    }
    return mine === newest ? answer : null;
  };
};
const sameFilter = (one, other) => JSON.stringify(one) === JSON.stringify(other);
const problemBox = (message, fix) => {
  const box = make("div", "s-finding bad");
  box.append(make("b", "", message), make("p", "", fix));
  return box;
};
