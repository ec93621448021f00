// The line above the views: whether every row was checked, and what came out. It starts the checkup
// of a small dataset by itself and follows it. Builds on elements.js.
//
// Events of the document, beside those of elements.js:
//   checkup {state}            what the server last said, for the Checkup view
//   checkup-done {dataset}     there are new figures and findings
//   checkup-ask                look at once
const ASK_MS = 700;
const IDLE_MS = 4000;
const state = { about: { dataset: "" }, said: null, mine: null, wait: 0, problem: null, settled: "" };
const askCheckup = asker("checkup");

const line = make("div", "s-checkup-line");
const word = make("div", "s-checkup-word");
const sign = make("span", "s-sign");
sign.setAttribute("aria-hidden", "true");
const text = make("span", "s-checkup-text");
text.setAttribute("role", "status");
word.append(sign, text);
const actions = make("div", "s-checkup-actions");
const meter = make("div", "s-progress");
meter.setAttribute("role", "progressbar");
meter.setAttribute("aria-label", "Progress of the checkup");
meter.setAttribute("aria-valuemin", "0");
meter.setAttribute("aria-valuemax", "100");
const fill = make("span");
meter.append(fill);
const trouble = make("div");
trouble.setAttribute("role", "alert");
line.append(word, actions, meter, trouble);
element.replaceChildren(line);

const start = button("Check every row", () => begin(), "s-button s-primary");
const cancel = button("Cancel", () => stop());
const look = button("Open the checkup", () => {
  document.querySelector("#data-view-checkup-button")?.click();
}, "s-button s-look-button");

// A person's Cancel holds for the window, so that the checkup does not start by itself again.
const CANCELLED = "studio-checkup-cancelled";
const cancelled = () => { try { return sessionStorage.getItem(CANCELLED); } catch { return null; } };
const keepCancelled = (stamp) => { try { sessionStorage.setItem(CANCELLED, stamp); } catch { /* private window */ } };

const call = async (name, question) => {
  try {
    return await server[name](question);
  } catch {
    return { error: "The studio does not answer.", fix: "Is it still running? Then try again." };
  }
};
const begin = async () => {
  const stamp = state.said?.stamp;
  start.disabled = true;
  const answer = await call("start", state.about);
  start.disabled = false;
  state.problem = answer.error ? { stamp, message: answer.error, fix: answer.fix } : null;
  if (!answer.error) state.mine = { job: answer.job, stamp };
  ask();
};
const stop = async () => {
  const running = state.said?.running;
  if (!running) return;
  keepCancelled(state.said.stamp);
  cancel.disabled = true;
  const answer = await call("cancel", { job: running.job });
  state.problem = answer.error ? { stamp: state.said.stamp, message: answer.error, fix: answer.fix } : null;
  ask();
};

const view = (said) => {
  const { running, result } = said;
  const problem = state.problem || said.problem;
  if (problem) trouble.replaceChildren(problemBox(problem.message, problem.fix));
  else trouble.replaceChildren();
  meter.hidden = !running;
  if (running) {
    const words = running.stopping
      ? ["Stopping"]
      : [running.current ? "Checking every row" : "Checking the rows as they were before", running.phase,
        running.total ? `${count(running.done)} of ${count(running.total)}` : "", running.left];
    const percent = Math.round(100 * running.share);
    fill.style.width = `${percent}%`;
    meter.setAttribute("aria-valuenow", percent);
    cancel.disabled = running.stopping;
    return { shape: "◔", tone: "busy", words: words.filter(Boolean).join(" · "), buttons: [cancel] };
  }
  if (result?.current) {
    const { good, text } = result.summary;
    return {
      shape: good ? "✓" : result.summary.counts.bad ? "✕" : "!",
      tone: good ? "good" : result.summary.counts.bad ? "bad" : "look",
      words: `${good ? "" : "Checkup: "}${text}`,
      buttons: [look],
    };
  }
  const stopped = said.ended === "stopped" || cancelled() === said.stamp;
  const soon = said.automatic && !problem && !stopped;
  if (soon) return { shape: "◔", tone: "busy", words: "Checking every row …", buttons: [] };
  const before = result ? "The checkup is from before your last change. " : "";
  const why = stopped && !result ? "The checkup was cancelled. " : before || "Not every row was checked yet. ";
  start.textContent = problem ? "Try again" : "Check every row";
  return { shape: "○", tone: "none", words: `${why}It takes ${said.estimate}.`, buttons: result ? [start, look] : [start] };
};
const draw = () => {
  const said = state.said;
  line.hidden = !said;
  if (!said) return;
  const { shape, tone, words, buttons } = view(said);
  line.dataset.tone = tone;
  sign.textContent = shape;
  if (text.textContent !== words) text.textContent = words;
  if ([...actions.children].some((one, place) => one !== buttons[place]) || actions.children.length !== buttons.length) {
    actions.replaceChildren(...buttons);
  }
};

const tellNews = (before, said) => {
  window.studioCheckup = { about: { ...state.about }, said };
  tell("checkup", window.studioCheckup);
  const known = before?.result?.key;
  if (said.result && said.result.key !== known && said.result.current) {
    tell("checkup-done", { dataset: state.about.dataset });
  }
};
// A small dataset is checked by itself, once its recipe has stayed the same from one look to the next.
const goOn = (said) => {
  const settled = state.settled === said.stamp;
  state.settled = said.stamp;
  if (said.running) {
    // The one that this window has started for rows that have changed since is of no use any more.
    if (state.mine?.job === said.running.job && !said.running.current && !said.running.stopping) {
      call("cancel", { job: said.running.job });
    }
    return true;
  }
  const stop = said.ended === "failed" || said.ended === "lost" || state.problem || said.problem;
  if (!said.automatic || said.result?.current || stop || cancelled() === said.stamp) return false;
  if (settled) begin();
  return true;
};
let busy = false;
const ask = async () => {
  if (!state.about.dataset) return;
  const about = state.about;
  const said = await askCheckup(about);
  if (said === null || about !== state.about) return;
  if (said.error) {
    line.hidden = false;
    line.dataset.tone = "bad";
    sign.textContent = "✕";
    text.textContent = "The rows cannot be checked.";
    actions.replaceChildren();
    meter.hidden = true;
    trouble.replaceChildren(problemBox(said.error, said.fix));
    return;
  }
  const before = state.said;
  state.said = said;
  if (state.problem && state.problem.stamp !== said.stamp) state.problem = null;
  // Another window has changed the dataset: this page shows it too.
  if (before?.recipe && before.recipe !== said.recipe) trigger("kept", { dataset: about.dataset });
  busy = goOn(said);
  draw();
  tellNews(before, said);
};

const refresh = () => {
  const value = props.value || {};
  const another = value.dataset !== state.about.dataset;
  state.about = { dataset: "", ...value };
  if (another) Object.assign(state, { said: null, mine: null, problem: null });
  else if (state.said) state.said = { ...state.said, recipe: undefined };
  window.studioCheckup = another ? null : window.studioCheckup;
  draw();
  ask();
};
let waited = 0;
const clock = setInterval(() => {
  if (!element.isConnected) return clearInterval(clock);
  waited += ASK_MS;
  if (document.hidden || element.offsetParent === null) return;
  if (!busy && waited < IDLE_MS) return;
  waited = 0;
  ask();
}, ASK_MS);
hear("checkup-ask", () => ask());
watch("value", refresh);
refresh();
