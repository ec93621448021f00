// One pane of a chat. Finished turns come as the element's value; while an answer is written the
// script reads what is new from the studio, one look after the other, so that a slow page never
// falls behind. All text is set as text: whatever a model writes stays words.

const LOOK_MS = 90;

const make = (tag, className, text) => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};

// Kind and word of who answers: the pane's own, or what its value says.
const kindOf = () => props.value.kind || props.kind;
const wordOf = () => props.value.word || props.word;

const head = make("div");
const title = make("h2");
const square = make("i");
square.setAttribute("aria-hidden", "true");
const word = make("span");
title.append(square, word);
const model = make("span", "pane-model");
const note = make("span", "pane-note");
head.append(title, model, note);
const log = make("div", "pane-log");
log.setAttribute("role", "log");
log.tabIndex = 0;
element.replaceChildren(head, log);

let token = "";
let growing = null; // the element of the answer that is being written

function copyButton(source) {
  const button = make("button", "pane-copy", "Copy");
  button.type = "button";
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(source.textContent);
      button.textContent = "Copied";
    } catch (error) {
      button.textContent = "Not allowed";
    }
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  return button;
}

// `mark`, {by, kind}, tells who said it where one conversation has several speakers.
function turnNode(role, content, mark) {
  const turn = make("div", `turn turn-${role}`);
  if (mark && mark.by) {
    const by = make("span", `turn-by pane-${mark.kind}`);
    const shape = make("i");
    shape.setAttribute("aria-hidden", "true");
    by.append(shape, mark.by);
    turn.append(by);
  } else {
    turn.append(make("span", "s-visually-hidden", role === "user" ? "You:" : `${wordOf()}:`));
  }
  const words = make("div", "turn-text", content);
  turn.append(words);
  if (role === "assistant") turn.append(copyButton(words));
  log.append(turn);
  return words;
}

function scrollDown(always) {
  const near = log.scrollTop + log.clientHeight >= log.scrollHeight - 60;
  if (always || near) log.scrollTop = log.scrollHeight;
}

function draw() {
  const value = props.value;
  head.className = `pane-head pane-${kindOf()}`;
  word.textContent = wordOf();
  log.setAttribute("aria-label", `Conversation with: ${wordOf()}`);
  model.textContent = value.model;
  note.textContent = value.note;
  log.replaceChildren();
  growing = null;
  for (const turn of value.turns) turnNode(turn.role, turn.content, turn);
  if (value.turns.length === 0) log.append(make("p", "pane-empty", props.empty));
  const last = value.turns[value.turns.length - 1];
  if (!value.token && last && last.role === "assistant" && last.content === "") {
    log.lastElementChild.querySelector(".turn-text").before(make("em", "s-note", "(an empty answer)"));
  }
  scrollDown(true);
  log.setAttribute("aria-busy", String(Boolean(value.token)));
  if (value.token && value.token !== token) follow(value.token);
  token = value.token;
}

async function follow(mine) {
  let nChars = 0;
  let begun = false;
  await new Promise((resolve) => setTimeout(resolve, 0));
  while (token === mine && element.isConnected) {
    let reply;
    try {
      reply = await server.piece({ token: mine, n_chars: nChars });
    } catch (error) {
      return; // the event that writes the answer tells what happened
    }
    if (token !== mine || reply.error) return;
    if (reply.ended && begun) return;
    if (!reply.ended) {
      begun = true;
      note.textContent = reply.note;
      if (reply.text) {
        growing = growing || turnNode("assistant", "", props.value.mark);
        growing.append(reply.text);
        nChars += [...reply.text].length;
        scrollDown(false);
      }
    }
    await new Promise((resolve) => setTimeout(resolve, document.hidden ? 1000 : LOOK_MS));
  }
}

watch("value", draw);
draw();
