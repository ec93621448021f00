// The end of a run's log; read again every two seconds while it is unfolded and on screen.

const EVERY_MS = 2000;
const box = document.createElement("pre");
box.className = "run-log";
box.tabIndex = 0;
box.setAttribute("aria-label", "End of the worker's log");
element.replaceChildren(box);
let asking = false;

async function ask() {
  if (asking || document.hidden || element.offsetParent === null || !props.value) return;
  asking = true;
  const run = props.value;
  try {
    const reply = await server.log(run);
    if (run !== props.value) return;
    const text = reply.error || reply.text || "The log is empty.";
    if (text === box.textContent) return;
    const atEnd = box.scrollTop + box.clientHeight >= box.scrollHeight - 20;
    box.textContent = text;
    if (atEnd) box.scrollTop = box.scrollHeight;
  } catch (error) {
    // The header says that the studio does not answer; the log keeps its last lines.
  } finally {
    asking = false;
  }
}

watch("value", () => {
  box.textContent = "";
  ask();
});
const clock = setInterval(() => {
  if (element.isConnected) ask();
  else clearInterval(clock);
}, EVERY_MS);
ask();
