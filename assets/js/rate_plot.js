// The loss by the learning rate (components/train/rate.py): its value is a figure by theme, or null.

const plot = make("div", "rate-plot");
plot.setAttribute("role", "img");
plot.setAttribute("aria-label", "Loss by the learning rate; a dashed line at the suggested one");

// The Runs tab brings the same script; here it is loaded when there is something to draw.
let loading = false;
function load() {
  if (loading) return;
  loading = true;
  const script = make("script");
  script.src = props.plotly;
  script.addEventListener("load", draw);
  script.addEventListener("error", () => (loading = false));
  document.head.append(script);
}

let width = 0;
new ResizeObserver(() => {
  if (width === element.clientWidth) return;
  width = element.clientWidth;
  draw();
}).observe(element);

function draw() {
  if (!props.value) return element.replaceChildren();
  if (!width) return; // its fold is closed
  if (!window.Plotly) return load();
  if (!plot.isConnected) element.replaceChildren(plot);
  const theme = document.body.classList.contains("dark") ? "dark" : "light";
  const { data, layout } = JSON.parse(JSON.stringify(props.value[theme]));
  Plotly.react(plot, data, { ...layout, autosize: true }, { displayModeBar: false });
}

watch("value", draw);
const theme = new MutationObserver(() => (element.isConnected ? draw() : theme.disconnect()));
theme.observe(document.body, { attributeFilter: ["class"] });
draw();
