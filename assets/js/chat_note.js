// The line that says that the chat made room for a run; asked for while it can be seen.
// In scope: element, trigger, server.
const LOOK_MS = 2000;
const line = document.createElement("p");
line.className = "s-note";
line.setAttribute("role", "status");
element.replaceChildren(line);

const look = async () => {
  if (!element.isConnected) return;
  if (!document.hidden && element.offsetParent) {
    try {
      const reply = await server.said({});
      if (!reply.error && line.textContent !== reply.text) {
        line.textContent = reply.text;
        trigger("told", {});
      }
    } catch {
      // The studio is closed: the header says so.
    }
  }
  setTimeout(look, LOOK_MS);
};
look();
