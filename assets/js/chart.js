// Draws one run and asks the studio for its new points. This is the body of gr.HTML's js_on_load:
// `element`, `props`, `server`, `trigger` and `watch` are given. Numbers, words and layout come
// from Python (components/runs/chart.py, components/runs/live.py); nothing is computed here.

const ACTIVE_MS = 1000;
const IDLE_MS = 5000;
const NARROW_PX = 640;

const part = (name) => element.querySelector(`[data-part="${name}"]`);
const plot = part("plot");
const isDark = () => document.body.classList.contains("dark");
const isNarrow = () => plot.clientWidth < NARROW_PX;
const copy = (value) => JSON.parse(JSON.stringify(value));

let job = "";
let since = null; // what the studio gave us last; null asks for the whole run
let signature = ""; // state and messages; a change lets the buttons around the chart follow
let active = false;
let asking = false;
let drawn = false;
let logarithmic = false;
let spec = null; // what to draw with; comes with the whole run
let more = false; // every figure of the method, or the first ones
let base = null; // the base model's own validation loss, or nothing
let best = []; // step and loss of the best validation, or nothing

const smoothing = () => Number(part("smoothing").value);
const theme = () => spec[isDark() ? "dark" : "light"];
const places = () => spec[isNarrow() ? "narrow" : "wide"];

function layoutNow() {
  const layout = copy(theme().layout);
  for (const [path, value] of Object.entries(places().axes)) {
    const [axis, key] = path.split(".");
    layout[axis][key] = value;
  }
  layout.yaxis.type = logarithmic ? "log" : "linear";
  layout.shapes = baseLine();
  layout.uirevision = job; // the zoom belongs to the run, whatever is redrawn
  layout.dragmode = isNarrow() ? false : "zoom"; // on a phone a drag scrolls the page
  layout.autosize = true;
  return layout;
}

function baseLine() {
  if (base === null) return [];
  const line = spec.base_line[isDark() ? "dark" : "light"];
  return [{ type: "line", layer: "below", xref: "paper", x0: 0, x1: 1, y0: base, y1: base, line }];
}

function markBase(value) {
  const legend = part("base-legend");
  legend.hidden = value === null;
  if (value === base) return;
  base = value;
  if (base !== null) legend.lastElementChild.textContent = `base model, validation ${base.toFixed(3)}`;
  if (drawn) Plotly.relayout(plot, { shapes: baseLine() });
}

// The last trace is the mark of the best validation; the others are curves.
const bestPoints = () => [best.slice(0, 1), best.slice(1)];

function tracesWith(points) {
  const all = [...points.slice(0, spec.n_curves), bestPoints()];
  return copy(theme().data).map((trace, i) => ({ ...trace, x: all[i][0], y: all[i][1] }));
}

function draw(points) {
  const options = { displayModeBar: false, responsive: true, doubleClick: "reset" };
  drawn = true;
  plot.style.setProperty("--plot-height", `${places().height}px`);
  return Plotly.react(plot, tracesWith(points), layoutNow(), options);
}

function markBest(place) {
  part("best-legend").hidden = place.length === 0;
  if (JSON.stringify(place) === JSON.stringify(best)) return;
  best = place;
  const [x, y] = bestPoints();
  if (drawn) Plotly.restyle(plot, { x: [x], y: [y] }, [plot.data.length - 1]);
}

function redraw() {
  if (drawn) draw(plot.data.map((trace) => [trace.x, trace.y]));
}

function extend(points) {
  const curves = points.slice(0, spec.n_curves).map((_, i) => i);
  const indices = curves.filter((i) => points[i][0].length > 0);
  if (indices.length === 0) return;
  const pick = (k) => indices.map((i) => points[i][k]);
  Plotly.extendTraces(plot, { x: pick(0), y: pick(1) }, indices);
}

function showMetrics(metrics) {
  const strip = part("metrics");
  if (strip.children.length !== metrics.length) {
    strip.replaceChildren(
      ...metrics.map(() => {
        const cell = document.createElement("div");
        cell.className = "metric";
        for (const tag of ["span", "strong", "small"]) cell.append(document.createElement(tag));
        return cell;
      }),
    );
  }
  metrics.forEach((metric, i) => {
    const texts = [metric.label, metric.value, metric.note];
    texts.forEach((text, k) => {
      const node = strip.children[i].children[k];
      if (node.textContent !== text) node.textContent = text;
    });
  });
}

function showProgress(reply) {
  const bar = part("progress");
  const percent = Math.round(reply.progress * 1000) / 10;
  bar.setAttribute("aria-valuenow", String(percent));
  bar.firstElementChild.style.width = `${percent}%`;
  bar.dataset.state = reply.state;
  const phase = part("phase");
  if (phase.textContent !== reply.phase) phase.textContent = reply.phase;
  plot.setAttribute("aria-label", reply.aloud);
}

function showReading(reading) {
  const box = part("reading");
  box.hidden = !reading;
  if (!reading) return;
  box.dataset.verdict = reading.verdict;
  [`${reading.title}.`, reading.words, reading.advice].forEach((text, k) => {
    if (box.children[k].textContent !== text) box.children[k].textContent = text;
  });
}

function take(reply) {
  if (reply.job !== job) return; // another run was chosen while this answer was under way
  if (reply.spec) {
    spec = reply.spec;
    best = reply.best;
    base = null;
    part("more").hidden = spec.n_more === 0;
  }
  if (reply.reset || !drawn) draw(reply.points);
  else extend(reply.points);
  markBest(reply.best);
  markBase(reply.base);
  plot.classList.toggle("no-points", plot.data.every((trace) => trace.x.length === 0));
  since = reply.since;
  active = reply.active;
  showMetrics(reply.metrics);
  showProgress(reply);
  showReading(reply.reading);
  if (reply.signature !== signature) {
    const first = signature === "";
    signature = reply.signature;
    // A run that goes on may have changed since its head was drawn, before this first look.
    if (!first || reply.active) trigger("state", { run: job });
  }
}

async function ask() {
  const shown = element.isConnected && element.offsetParent !== null && !document.hidden;
  if (!job || asking || !shown || typeof Plotly === "undefined") return;
  asking = true;
  const wanted = `${more} ${smoothing()}`;
  const lengths = drawn ? plot.data.map((trace) => trace.x.length) : [];
  try {
    const reply = await server.poll({ job, since, n_shown: Math.max(0, ...lengths), more, smoothing: smoothing() });
    if (reply.error) part("phase").textContent = `${reply.error} ${reply.fix}`;
    else if (wanted === `${more} ${smoothing()}`) take(reply);
  } catch (error) {
    part("phase").textContent = "The studio does not answer. Trying again.";
  } finally {
    asking = false;
  }
}

function follow(chosen) {
  if (chosen === job) return;
  job = chosen;
  since = null;
  signature = "";
  active = true;
  element.firstElementChild.hidden = !job;
  ask();
}

part("smoothing").addEventListener("change", () => {
  since = null;
  ask();
});
part("log").addEventListener("click", () => {
  logarithmic = !logarithmic;
  part("log").setAttribute("aria-pressed", String(logarithmic));
  redraw();
});
part("more").addEventListener("click", () => {
  more = !more;
  part("more").setAttribute("aria-pressed", String(more));
  since = null;
  ask();
});
part("whole").addEventListener("click", () => {
  if (drawn) Plotly.relayout(plot, { "xaxis.autorange": true });
});

let dark = isDark();
new MutationObserver(() => {
  if (isDark() === dark) return;
  dark = isDark();
  redraw();
}).observe(document.body, { attributes: true, attributeFilter: ["class"] });

let narrow = isNarrow();
new ResizeObserver(() => {
  if (plot.clientWidth === 0 || !drawn) return;
  if (isNarrow() !== narrow) {
    narrow = isNarrow();
    redraw();
  }
  // The box grows with the first points and with the window; Plotly hears of the window alone.
  Plotly.Plots.resize(plot);
}).observe(plot);

let waited = 0;
const clock = setInterval(() => {
  if (!element.isConnected) return clearInterval(clock);
  waited += ACTIVE_MS;
  if (!active && waited < IDLE_MS) return;
  waited = 0;
  ask();
}, ACTIVE_MS);
document.addEventListener("visibilitychange", ask);

element.firstElementChild.hidden = true;
watch("value", () => follow(props.value || ""));
follow(props.value || "");
