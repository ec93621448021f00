// An editor for Jinja: numbered lines, the line of an error marked, the error said below.
// Builds on elements.js. Tab leaves it, as it leaves every field.
const jinjaEditor = ({ label, help, rows = 8, onInput }) => {
  // Each script of the page has a scope of its own; an id must be the page's only one.
  window.studioEditors = (window.studioEditors || 0) + 1;
  const id = `jinja-${window.studioEditors}`;
  const box = make("div", "s-editor");
  const title = make("label", "s-label", label);
  title.htmlFor = id;
  const frame = make("div", "s-editor-frame");
  const gutter = make("div", "s-editor-lines");
  gutter.setAttribute("aria-hidden", "true");
  const area = make("textarea", "s-editor-text");
  area.id = id;
  area.rows = rows;
  area.spellcheck = false;
  area.wrap = "off";
  area.setAttribute("autocapitalize", "off");
  const error = make("p", "s-editor-error");
  error.id = `${id}-error`;
  error.setAttribute("role", "status");
  area.setAttribute("aria-describedby", error.id);
  frame.append(gutter, area);
  box.append(title);
  if (help) box.append(make("span", "s-note", help));
  box.append(frame, error);

  let wrong = 0;
  const number = () => {
    const n = area.value.split("\n").length;
    if (gutter.childElementCount !== n) {
      gutter.replaceChildren(...Array.from({ length: n }, (_, at) => make("span", "", String(at + 1))));
    }
    [...gutter.children].forEach((line, at) => line.classList.toggle("wrong", at + 1 === wrong));
    gutter.scrollTop = area.scrollTop;
  };
  area.addEventListener("scroll", () => { gutter.scrollTop = area.scrollTop; });
  area.addEventListener("input", () => { number(); onInput(area.value); });
  number();
  return {
    box,
    area,
    get value() { return area.value; },
    set value(text) { if (area.value !== text) area.value = text; number(); },
    // {line, message} or null; line 0 where it is not known.
    show(problem) {
      wrong = problem ? problem.line : 0;
      area.setAttribute("aria-invalid", problem ? "true" : "false");
      error.textContent = problem ? (problem.line ? `Line ${problem.line}: ` : "") + problem.message : "";
      number();
    },
    insert(text) {
      area.focus();
      area.setRangeText(text, area.selectionStart, area.selectionEnd, "end");
      area.dispatchEvent(new Event("input"));
    },
  };
};

// Calls `action` once typing has paused.
const paused = (action, ms = 250) => {
  let clock;
  return (...given) => {
    clearTimeout(clock);
    clock = setTimeout(() => action(...given), ms);
  };
};

// Which row a preview is of: follows the table until it is stepped by itself.
const rowStepper = (onStep) => {
  const state = { index: 0, n: 0 };
  const box = make("div", "s-stepper");
  const name = make("span", "s-note");
  const step = (by) => {
    state.index = Math.min(Math.max(state.index + by, 0), Math.max(state.n - 1, 0));
    onStep(state.index);
  };
  const back = button("Previous row", () => step(-1));
  const on = button("Next row", () => step(1));
  box.append(name, back, on);
  return {
    box,
    get index() { return state.index; },
    set index(index) { state.index = index; },
    show(index, n) {
      Object.assign(state, { index, n });
      name.textContent = n ? `Row ${count(index + 1)} of ${count(n)}` : "";
      back.disabled = index <= 0;
      on.disabled = index >= n - 1;
    },
  };
};
