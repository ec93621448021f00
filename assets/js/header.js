// The header: meters and status pill, polled while the page is visible, and the address.
// In scope: element, props, trigger, watch, server.
const make = (tag, className, text) => {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
};

// --- light and dark: the system decides until the person does -------------------------------
const THEME_KEY = "lora-studio-theme";
const systemDark = window.matchMedia("(prefers-color-scheme: dark)");
const isDark = () => {
  const chosen = localStorage.getItem(THEME_KEY);
  return chosen ? chosen === "dark" : systemDark.matches;
};

// --- the frame --------------------------------------------------------------------------------
const header = make("header", "s-header");
const brand = make("div", "s-brand");
brand.innerHTML = props.logo;
brand.append(make("h1", "s-name", "LoRA Studio"));
const project = make("span", "s-project");
brand.append(project);

const meters = make("div", "s-meters");
const meter = (name) => {
  const box = make("div", "s-meter");
  const value = make("b", "", "…");
  box.append(make("span", "", name), value);
  meters.append(box);
  return { box, value };
};
const cpu = meter("CPU");
const ram = meter("RAM");
const gpu = meter("GPU");
gpu.box.hidden = true;

const pill = make("button", "s-pill");
pill.type = "button";
const dot = make("span", "s-dot");
dot.setAttribute("aria-hidden", "true");
const word = make("span", "", "Ready");
word.setAttribute("role", "status");
pill.append(dot, word);
pill.dataset.state = "ready";
pill.addEventListener("click", () => {
  if (pill.dataset.job) trigger("click", { job: pill.dataset.job, kind: pill.dataset.kind });
});

const toggle = make("button", "s-icon-button");
toggle.type = "button";
const applyTheme = () => {
  document.body.classList.toggle("dark", isDark());
  toggle.textContent = isDark() ? "☀" : "☾";
  toggle.setAttribute("aria-label", isDark() ? "Switch to light colours" : "Switch to dark colours");
  toggle.title = toggle.getAttribute("aria-label");
  window.dispatchEvent(new CustomEvent("studio-theme", { detail: isDark() ? "dark" : "light" }));
};
toggle.addEventListener("click", () => {
  localStorage.setItem(THEME_KEY, isDark() ? "light" : "dark");
  applyTheme();
});
systemDark.addEventListener("change", applyTheme);
applyTheme();

const right = make("div", "s-right");
right.append(meters, pill, toggle);
header.append(brand, right);
element.replaceChildren(header);

// --- the address keeps tab, dataset and run ---------------------------------------------------
const keepInAddress = (values) => {
  const url = new URL(window.location.href);
  for (const [name, value] of Object.entries(values)) {
    if (value) url.searchParams.set(name, value);
    else url.searchParams.delete(name);
  }
  window.history.replaceState(null, "", url);
};
// The first tab announces itself before the address has been read; that must not change it.
let opened = false;
window.studioAddress = (values) => {
  if (opened) keepInAddress(values);
};
const showChoice = () => {
  const value = props.value || {};
  project.textContent = value.dataset_name || "";
  project.hidden = !value.dataset_name;
  if (value.known) opened = true;
  if (value.known) keepInAddress({ dataset: value.dataset, run: value.run, model: value.model });
};
watch("value", showChoice);
showChoice();

// --- meters and pill --------------------------------------------------------------------------
const gb = (bytes) => (bytes / 2 ** 30).toFixed(1);
const memory = (used, total) => `${gb(used)} / ${Math.round(total / 2 ** 30)} GB`;
const show = (status) => {
  cpu.value.textContent = `${status.cpu_percent} %`;
  cpu.box.title = `${status.n_cores} cores`;
  ram.value.textContent = memory(status.ram_used_bytes, status.ram_total_bytes);
  gpu.box.hidden = !status.gpu;
  if (status.gpu) {
    gpu.value.textContent = memory(status.gpu.used_bytes, status.gpu.total_bytes);
    gpu.box.title = status.gpu.name;
  }
  const job = status.job;
  pill.dataset.state = job ? job.state : "ready";
  pill.dataset.job = job ? job.id : "";
  pill.dataset.kind = job ? job.kind : "";
  pill.title = job ? `${job.name}: open it` : "No job yet";
  const text = job ? job.text : "Ready";
  if (word.textContent !== text) word.textContent = text;
};
const POLL_MS = 2000;
const poll = async () => {
  if (!element.isConnected) return;
  if (!document.hidden) {
    try {
      const status = await server.status({});
      if (!status.error) show(status);
    } catch {
      pill.dataset.state = "offline";
      word.textContent = "Studio closed";
    }
  }
  setTimeout(poll, POLL_MS);
};
poll();
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) server.status({}).then((s) => s.error || show(s)).catch(() => {});
});
