// The exports of one run: progress with a way to stop, files, and the report card. Words come from
// Python (components/exports_list.py); the script asks each second while one is under way.

const TONES = { passed: "good", warned: "look", failed: "bad" };
const ACTIVE_MS = 1000;
const FEW_CHECKS = 12;
const IDLE_MS = 5000;
let exports = null;
let asking = false;
let shown = "";

const make = (tag, className, text) => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};

function button(text, press, label) {
  const node = make("button", "chart-button", text);
  node.type = "button";
  if (label) node.setAttribute("aria-label", label);
  node.addEventListener("click", () => press(node));
  return node;
}

function copyButton(text, what) {
  return button(
    "Copy",
    async (node) => {
      try {
        await navigator.clipboard.writeText(text);
        node.textContent = "Copied";
      } catch (error) {
        node.textContent = "Not allowed";
      }
      setTimeout(() => (node.textContent = "Copy"), 1500);
    },
    `Copy ${what}`,
  );
}

function removeButton(item) {
  const place = make("span", "export-remove");
  const ask = () => {
    const sure = button("Delete for good", () => trigger("remove", { job: item.id }));
    sure.classList.add("danger");
    const keep = button("Keep", () => place.replaceChildren(first));
    place.replaceChildren(make("span", "s-note", "Delete these files?"), sure, keep);
    keep.focus();
  };
  const first = button("Delete", ask, `Delete the export ${item.title}`);
  place.append(first);
  return place;
}

function headOf(item) {
  const head = make("div", "export-head");
  const badge = make("span", `state state-${item.state}`);
  const shape = make("i", "", item.shape);
  shape.setAttribute("aria-hidden", "true");
  badge.append(shape, item.word);
  head.append(make("h3", "", item.title), badge);
  if (item.active) {
    const stop = button("Cancel", () => trigger("cancel", { job: item.id }));
    stop.disabled = item.state === "stopping";
    head.append(stop);
  } else {
    head.append(removeButton(item));
  }
  return head;
}

function progressOf(item) {
  const part = make("div", "export-progress");
  const bar = make("div", "run-progress");
  const percent = Math.round(item.share * 100);
  bar.setAttribute("role", "progressbar");
  bar.setAttribute("aria-label", "Progress of this step");
  bar.setAttribute("aria-valuemin", "0");
  bar.setAttribute("aria-valuemax", "100");
  bar.setAttribute("aria-valuenow", String(percent));
  const fill = make("span");
  fill.style.width = `${percent}%`;
  bar.append(fill);
  const words = [item.phase || "Starting", percent ? `${percent} %` : "", item.left];
  part.append(make("p", "s-note", words.filter(Boolean).join(" · ")), bar);
  return part;
}

function fileOf(file) {
  const part = make("li", "export-file");
  const first = make("div", "export-file-line");
  const verdict = make("span", `s-tag ${TONES[file.status]}`, file.verdict);
  first.append(make("b", "s-mono", file.type), make("span", "num", file.size));
  first.append(make("span", "num", `${file.bits} bits per weight`), verdict);
  const link = make("a", "chart-button", "Download");
  link.href = file.link;
  link.download = file.name;
  link.setAttribute("aria-label", `Download ${file.name}`);
  const talk = button(
    "Chat",
    () => trigger("talk", { job: file.job, type: file.type }),
    `Chat with ${file.name}`,
  );
  const actions = make("span", "export-actions");
  if (file.talks) actions.append(talk);
  // A folder has no download: it is used from its path.
  if (file.link) actions.append(link);
  if (file.card) {
    const card = make("a", "chart-button", "Report card");
    card.href = file.card;
    card.download = `${file.name}.card.html`;
    card.setAttribute("aria-label", `Download the report card of ${file.name}`);
    actions.append(card);
  }
  first.append(actions);
  part.append(first);
  for (const [name, text] of [
    ["SHA-256", file.sha256],
    ["Path", file.path],
  ]) {
    const line = make("div", "export-detail");
    line.append(make("span", "s-note", name), make("code", "", text), copyButton(text, name));
    part.append(line);
  }
  return part;
}

function checkOf(check) {
  const part = make("li", `export-check ${TONES[check.status]}`);
  part.append(make("b", "", check.word));
  part.append(make("span", "", `${check.name} · ${check.type}`));
  part.append(make("span", "num", check.numbers), make("span", "s-note", check.note));
  return part;
}

// What a person opened or closed; without it, a card is open while something in it wants a look.
const opened = {};

function checksOf(item) {
  const part = make("details", "export-card");
  const worst = item.checks.find((check) => check.status !== "passed");
  part.open = opened[item.id] ?? (Boolean(worst) || item.checks.length <= FEW_CHECKS);
  const n = item.checks.length;
  const passed = item.checks.filter((check) => check.status !== "failed").length;
  const summary = make("summary", "", `Report card: ${passed} of ${n} checks passed`);
  summary.addEventListener("click", () => (opened[item.id] = !part.open));
  part.append(summary);
  const card = make("ul", "export-checks");
  card.setAttribute("aria-label", "Report card");
  card.append(...item.checks.map(checkOf));
  part.append(card);
  return part;
}

function exportOf(item) {
  const part = make("section", "export-item");
  part.dataset.job = item.id;
  part.setAttribute("aria-label", `Export ${item.title}`);
  part.append(headOf(item));
  if (item.active) part.append(progressOf(item));
  if (item.problem) {
    const finding = make("div", "s-finding bad");
    finding.append(make("b", "", item.problem), make("p", "", item.fix));
    part.append(finding);
  }
  if (item.state === "stopped" && item.files.length === 0) {
    part.append(make("p", "s-note", "Cancelled; nothing was left behind."));
  }
  if (item.state === "lost") {
    part.append(make("p", "s-note", "Its process was killed. Delete it and export again."));
  }
  if (item.files.length) {
    const files = make("ul", "export-files");
    files.append(...item.files.map(fileOf));
    part.append(files);
  }
  if (item.measured) {
    const measured = make("div");
    // Markup of studio/results/measured_html.py, which escapes what it did not write itself.
    measured.innerHTML = item.measured;
    part.append(make("h4", "", "Measured on held-out rows"), measured);
  }
  if (item.checks.length) part.append(checksOf(item));
  return part;
}

function draw() {
  const key = JSON.stringify([props.value, exports]);
  if (exports === null || key === shown) return;
  shown = key;
  if (exports.length === 0) {
    const empty = make("div", "s-empty");
    empty.append(make("strong", "", "No files yet"));
    empty.append(make("p", "", "Tick the types you want above and press Export."));
    element.replaceChildren(empty);
    return;
  }
  element.replaceChildren(...exports.map(exportOf));
}

async function ask() {
  if (asking || document.hidden || element.offsetParent === null || !props.value) return;
  asking = true;
  const run = props.value;
  try {
    const reply = await server.exports(run);
    if (run === props.value && !reply.error) exports = reply.exports;
  } catch (error) {
    // The header says that the studio does not answer; the list keeps what it knows.
  } finally {
    asking = false;
  }
  draw();
}

let waited = 0;
const clock = setInterval(() => {
  if (!element.isConnected) return clearInterval(clock);
  waited += ACTIVE_MS;
  const active = exports !== null && exports.some((item) => item.active);
  if (!active && waited < IDLE_MS) return;
  waited = 0;
  ask();
}, ACTIVE_MS);
// Python sets the value anew, with a changed number behind the id, when it has changed something.
watch("value", ask);
ask();
