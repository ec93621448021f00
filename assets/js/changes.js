// What was changed in the dataset: counts, and each change with its undo. Builds on elements.js.
const state = { about: { dataset: "" }, all: false, busy: false, sure: false, data: null };
const askChanges = asker("changes");
const problem = make("div");
problem.setAttribute("role", "alert");
const list = make("ul", "s-changes");
const foot = make("div", "s-changes-foot");
const counts = make("p", "s-changes-counts");
counts.setAttribute("role", "status");
element.replaceChildren(counts, problem, list, foot);

const undo = async (name, question) => {
  if (state.busy) return;
  state.busy = true;
  draw();
  let answer;
  try {
    answer = await server[name]({ ...state.about, ...question });
  } catch {
    answer = { error: "The studio does not answer.", fix: "Is it still running? Then try again." };
  }
  state.busy = false;
  state.sure = false;
  problem.replaceChildren(...(answer.error ? [problemBox(answer.error, answer.fix)] : []));
  if (answer.error) return load();
  trigger("kept", { dataset: answer.dataset });
};
const lineOf = (change) => {
  const line = make("li", `s-change is-${change.kind}`);
  const sign = make("span", "s-change-sign", { drop: "−", set: "~", clean: "~", add: "+" }[change.kind]);
  sign.setAttribute("aria-hidden", "true");
  line.append(sign, make("span", "s-change-label", change.label));
  const press = button("Undo", () => undo("undo_one", { place: change.place, key: change.key }), "s-link");
  press.setAttribute("aria-label", `Undo: ${change.label}`);
  press.disabled = state.busy;
  line.append(press);
  return line;
};
const footOf = (data) => {
  const left = data.n - data.changes.length;
  const parts = [];
  if (left > 0) parts.push(button(`Show ${count(left)} earlier`, () => { state.all = true; load(); }, "s-link"));
  if (data.n > 1 && !state.sure) {
    const all = button("Undo all", () => { state.sure = true; draw(); foot.querySelector("button.s-danger")?.focus(); });
    all.disabled = state.busy;
    parts.push(all);
  }
  if (state.sure) {
    const yes = button(`Undo all ${count(data.n)} changes`, () => undo("undo_all", {}), "s-button s-danger");
    yes.disabled = state.busy;
    parts.push(yes, button("Keep them", () => { state.sure = false; draw(); }));
  }
  return parts;
};
const draw = () => {
  const data = state.data;
  if (!data) return;
  if (!data.n) {
    counts.textContent = "";
    const empty = make("li", "s-empty");
    empty.append(
      make("strong", "", "Nothing changed yet"),
      make("p", "", "What you remove, clean or edit is listed here, each with its undo. The file stays as it was."),
    );
    list.replaceChildren(empty);
    foot.replaceChildren();
    return;
  }
  const rows = (n) => `${count(n)} ${n === 1 ? "row" : "rows"}`;
  const parts = [];
  if (data.n_removed) parts.push(`${rows(data.n_removed)} removed`);
  if (data.n_changed) parts.push(`${rows(data.n_changed)} changed`);
  if (data.n_added) parts.push(`${rows(data.n_added)} added`);
  counts.textContent = `${parts.join(", ")}. The file stays as it was.`;
  list.replaceChildren(...data.changes.map(lineOf));
  foot.replaceChildren(...footOf(data));
};
const load = async () => {
  if (!state.about.dataset) return;
  const data = await askChanges({ ...state.about, all: state.all });
  if (data === null) return;
  if (data.error) {
    problem.replaceChildren(problemBox(data.error, data.fix));
    return;
  }
  state.data = data;
  draw();
};
const refresh = () => {
  const value = props.value || {};
  if (value.dataset !== state.about.dataset) Object.assign(state, { all: false, sure: false, data: null });
  state.about = { dataset: value.dataset || "" };
  problem.replaceChildren();
  load();
};
watch("value", refresh);
refresh();
