// The newest synthesis of the dataset: progress, and its proposals beside their rows.
// Builds on elements.js.
const EVERY_MS = 1000;
const askProposals = asker("proposals");
const state = { about: {}, page: 1, all: false, clock: 0, drawn: "" };

const status = make("div", "s-intake-line");
status.setAttribute("role", "status");
const bar = make("div", "run-progress s-share");
bar.setAttribute("role", "progressbar");
bar.setAttribute("aria-label", "Proposals");
bar.append(make("span"));
const notes = make("div", "s-list");
const tools = make("div", "s-actions");
const list = make("ul", "s-proposals");
const foot = make("div", "s-proposal-foot s-note");
const empty = make("p", "s-note", "No proposals yet. What a model proposes appears here, marked where it is empty or says nothing new; only what you approve becomes a row, marked as synthetic.");
element.replaceChildren(status, bar, notes, empty, tools, list, foot);

const act = (action, numbers = []) => trigger("submit", { action, job: state.job, numbers });
const decide = (action, numbers) => {
  act(action, numbers);
  for (const number of numbers) {
    for (const one of list.querySelectorAll(`[data-number="${number}"] button`)) one.disabled = true;
  }
  setTimeout(look, 500);
};
const text = (title, said, css = "") => {
  const box = make("div", `s-bubble ${css}`);
  box.append(make("span", "s-role", title), make("div", "", said || "(empty)"));
  return box;
};
const proposal = (one) => {
  const line = make("li", "s-proposal");
  line.dataset.number = one.number;
  const source = make("div", "s-source");
  const paraphrase = one.kind === "paraphrase";
  if (one.gone) source.append(problemBox(one.gone, "Reject the proposal."));
  else {
    source.append(text(`row ${one.row} · question`, one.question), text(`row ${one.row} · answer`, one.answer));
  }
  const made = make("div", "s-made");
  made.append(text(paraphrase ? "proposed question" : "proposed answer", one.text, "trained"));
  const actions = make("div", "s-actions");
  if (one.word) actions.append(make("span", "s-tag bad", one.word));
  actions.append(make("span", "s-note", `by ${one.model}`));
  if (one.verdict) {
    actions.append(make("span", `s-tag ${one.verdict === "approved" ? "good" : ""}`, one.verdict));
  } else {
    const approve = button("Approve", () => decide("approve", [one.number]));
    approve.disabled = one.mark === "empty" || Boolean(one.gone);
    approve.setAttribute("aria-label", `Approve proposal ${one.number}`);
    const reject = button("Reject", () => decide("reject", [one.number]));
    reject.setAttribute("aria-label", `Reject proposal ${one.number}`);
    actions.append(approve, reject);
  }
  made.append(actions);
  line.append(source, made);
  return line;
};

const drawJob = (job) => {
  state.job = job.id;
  const words = [job.phase, job.n ? `${count(job.done)} of ${count(job.n)} rows` : "", job.left];
  status.replaceChildren(
    make("b", "", job.active ? job.name : `${job.name}: ${job.word.toLowerCase()}`),
    make("span", "s-note", job.active ? words.filter(Boolean).join(" · ") : ""),
  );
  if (job.active) {
    const stop = button("Stop", () => { stop.disabled = true; act("stop"); });
    stop.disabled = job.state === "stopping";
    status.append(stop);
  } else if (job.resumable) {
    status.append(button("Go on", () => { act("resume"); setTimeout(look, 800); }));
  }
  bar.hidden = !job.active;
  bar.firstElementChild.style.width = `${job.n ? (100 * job.done) / job.n : 0}%`;
  bar.setAttribute("aria-valuenow", String(job.n ? Math.round((100 * job.done) / job.n) : 0));
  const problems = job.problem ? [job.problem] : [];
  notes.replaceChildren(...[...problems, ...job.warnings].map((one) => problemBox(one.message, one.fix)));
};
const drawTools = (answer) => {
  const open = answer.proposals.filter((one) => !one.verdict && !one.gone);
  const good = open.filter((one) => !one.mark);
  const all = button(`Approve all shown (${count(good.length)})`, () => decide("approve", good.map((one) => one.number)));
  all.disabled = !good.length;
  all.title = "Without the marked ones";
  const none = button(`Reject all shown (${count(open.length)})`, () => decide("reject", open.map((one) => one.number)));
  none.disabled = !open.length;
  const label = make("label", "s-note s-check");
  const box = make("input");
  box.type = "checkbox";
  box.checked = state.all;
  box.addEventListener("change", () => { state.all = box.checked; state.page = 1; look(); });
  label.append(box, " decided ones too");
  tools.replaceChildren(all, none, label);
  tools.hidden = !answer.n_proposals;
};
const draw = (answer) => {
  const job = answer.job;
  empty.hidden = Boolean(job);
  for (const one of [status, bar, tools, list, foot]) one.hidden = !job;
  if (!job) {
    notes.replaceChildren();
    return;
  }
  drawJob(job);
  // What a person reads or is about to press stays while more arrive behind it.
  const now = JSON.stringify([answer.proposals, answer.page, answer.n_pages, state.all]);
  if (now !== state.drawn) {
    state.drawn = now;
    drawTools(answer);
    list.replaceChildren(...answer.proposals.map(proposal));
  }
  const turn = make("span", "s-turning");
  const back = button("Previous", () => { state.page = answer.page - 1; look(); });
  back.disabled = answer.page <= 1;
  const on = button("Next", () => { state.page = answer.page + 1; look(); });
  on.disabled = answer.page >= answer.n_pages;
  turn.append(back, `page ${answer.page} of ${answer.n_pages}`, on);
  foot.replaceChildren(
    make("span", "", `${count(answer.n_proposals)} proposals, ${count(answer.n_open)} to decide, ${count(answer.n_approved)} approved`),
    ...(answer.n_pages > 1 ? [turn] : []),
  );
};
async function look() {
  clearTimeout(state.clock);
  const dataset = state.about.dataset;
  if (!dataset || !element.isConnected) return;
  const answer = await askProposals({ dataset, page: state.page, all: state.all });
  if (answer === null) return;
  if (answer.error) notes.replaceChildren(problemBox(answer.error, answer.fix));
  else draw(answer);
  if (answer.job && answer.job.active) state.clock = setTimeout(look, EVERY_MS);
}
const refresh = () => {
  const value = props.value || {};
  if (value.dataset !== state.about.dataset) Object.assign(state, { page: 1, drawn: "" });
  state.about = { ...value };
  look();
};
watch("value", refresh);
refresh();
