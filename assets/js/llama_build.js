// How far the one-time build of llama.cpp is; empty once it is ready.

const EVERY_MS = 2000;
let asking = false;
let ready = false;

const make = (tag, className, text) => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};

const box = make("div", "s-finding llama-build");
box.setAttribute("role", "status");
const message = make("b");
const fix = make("p");
const bar = make("div", "run-progress");
bar.setAttribute("role", "progressbar");
bar.setAttribute("aria-label", "Build of llama.cpp");
bar.setAttribute("aria-valuemin", "0");
bar.setAttribute("aria-valuemax", "100");
bar.append(make("span"));
const again = make("button", "chart-button", "Start the build");
again.type = "button";
box.append(message, fix, bar, again);
box.hidden = true;
element.replaceChildren(box);

function show(reply) {
  ready = reply.state === "ready";
  box.hidden = ready;
  box.classList.toggle("bad", reply.state === "failed");
  message.textContent = reply.message;
  fix.textContent = reply.state === "building" ? "Exports can start when it is done." : reply.fix;
  bar.hidden = reply.share === null;
  const percent = Math.round((reply.share || 0) * 100);
  bar.setAttribute("aria-valuenow", String(percent));
  bar.firstElementChild.style.width = `${percent}%`;
  again.hidden = reply.state === "building";
  again.textContent = reply.state === "failed" ? "Try again" : "Start the build";
}

async function ask(name) {
  if (asking || ready || document.hidden || element.offsetParent === null) return;
  asking = true;
  try {
    const reply = await server[name]({});
    if (reply.error) show({ state: "failed", message: reply.error, fix: reply.fix, share: null });
    else show(reply);
  } catch (error) {
    // The header says that the studio does not answer.
  } finally {
    asking = false;
  }
}

again.addEventListener("click", () => ask("start"));
const clock = setInterval(() => {
  if (element.isConnected) ask("look");
  else clearInterval(clock);
}, EVERY_MS);
ask("look");
