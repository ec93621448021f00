// How far a reading is, how to end it, and what became of it; stays until the next one.
// Builds on elements.js.
const EVERY_MS = 400;
const box = make("div", "s-intake");
box.hidden = true;
element.replaceChildren(box);

const state = { token: "", told: "", clock: 0 };
const askLook = asker("look");

const bar = make("div", "run-progress s-endless");
bar.setAttribute("role", "progressbar");
bar.setAttribute("aria-label", "Reading");
bar.append(make("span"));
const said = make("b");
const facts = make("span", "s-note");
const cancel = button("Cancel", async () => {
  cancel.disabled = true;
  draw(await server.cancel({ token: state.token }));
});
const line = make("div", "s-intake-line");
line.append(said, facts, cancel);
// A reader hears the end of a reading, not every number on its way.
const end = make("div");
end.setAttribute("role", "status");
box.append(line, bar, end);

const close = () => { box.hidden = true; };
const notes = (answer) => {
  const list = make("ul");
  for (const note of answer.notes) list.append(make("li", "", note));
  if (answer.n_more_notes) list.append(make("li", "", `… and ${count(answer.n_more_notes)} more notes`));
  return list;
};
const ended = {
  done: (answer) => {
    const note = make("div", "s-finding good");
    note.append(make("b", "", `${answer.what} is read: ${count(answer.n_rows)} rows in ${answer.time}.`));
    if (answer.notes.length) note.append(make("p", "", "What the readers decided:"), notes(answer));
    return note;
  },
  failed: (answer) => {
    const note = problemBox(answer.problem, answer.fix);
    note.prepend(make("span", "s-note", `Refused: ${answer.what}`));
    return note;
  },
  cancelled: (answer) => {
    const note = make("div", "s-finding");
    note.append(
      make("b", "", `Reading ${answer.what} was cancelled.`), make("p", "", "Nothing of it was kept."),
    );
    return note;
  },
};

function draw(answer) {
  // Without an answer the header says that the studio is gone; the next look asks again.
  if (!answer || answer.error) return;
  if (answer.state === "unknown") return close();
  box.hidden = false;
  const running = answer.state === "reading" || answer.state === "cancelling";
  line.hidden = !running;
  bar.hidden = !running;
  if (running) {
    said.textContent = answer.state === "reading" ? `Reading ${answer.what}` : "Cancelling …";
    facts.textContent = `${answer.words || `${count(answer.n_rows)} rows so far`} · ${answer.time}`;
    cancel.disabled = answer.state === "cancelling";
    end.replaceChildren();
    return;
  }
  clearInterval(state.clock);
  if (state.told === state.token) return;
  state.told = state.token;
  const note = ended[answer.state](answer);
  note.append(button("Close this note", close, "s-link s-close"));
  end.replaceChildren(note);
  if (answer.state === "done") trigger("select", { dataset: answer.dataset });
}

const look = async () => {
  if (!element.isConnected) clearInterval(state.clock);
  else draw(await askLook({ token: state.token }));
};
const begin = () => {
  const token = (props.value || {}).token || "";
  if (!token || token === state.token) return;
  state.token = token;
  clearInterval(state.clock);
  state.clock = setInterval(look, EVERY_MS);
  look();
};
watch("value", begin);
begin();
