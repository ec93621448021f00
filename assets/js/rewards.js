// The rewards of GRPO: a line for each rule with its weight and what it looks at, one to add more.
// The value is the list of rules. Builds on elements.js.
const askFile = asker("file");
const KINDS = {
  exact_match: "Equals the row's answer",
  regex: "Contains a pattern (regular expression)",
  json: "Is valid JSON",
  length: "Has so many words",
  python: "My own Python function",
};
const FRESH = { weight: 1, pattern: "", keys: [], min_words: 0, max_words: 0, path: "", sha256: "" };
const list = make("ul", "s-mix-list");
const none = make("p", "s-note", "Without a reward nothing is learned: add one.");
const adding = make("div", "s-actions s-mix-add");
const choice = make("select", "s-select");
choice.setAttribute("aria-label", "Reward to add");
for (const [kind, label] of Object.entries(KINDS)) choice.append(new Option(label, kind));
const rules = () => props.value || [];
let shown = "";
const keep = (next) => {
  shown = JSON.stringify(next);
  props.value = next;
  trigger("input");
};
const change = (place, values) =>
  keep(rules().map((rule, i) => (i === place ? { ...rule, ...values } : rule)));
adding.append(choice, button("Add reward", () => {
  keep([...rules(), { ...FRESH, kind: choice.value }]);
  draw();
}));

const field = (label, value, write, options = {}) => {
  const box = make("label", "s-reward-field", label);
  const input = make("input", options.type === "number" ? "s-number" : "s-reward-text");
  Object.assign(input, { type: "text", spellcheck: false, ...options, value });
  input.addEventListener("change", () => write(input.type === "number" ? Number(input.value) : input.value));
  box.append(input);
  return box;
};
const number = { type: "number", step: 1, min: 0 };
// What runs on this computer is read first: its text, its hash, and a tick that belongs to both.
const consent = (rule, place) => {
  const box = make("div", "s-reward-file");
  box.setAttribute("aria-live", "polite");
  const look = async () => {
    const path = rules()[place]?.path;
    if (!path) return;
    const found = await askFile({ path });
    if (found === null) return;
    if (found.error) return box.replaceChildren(problemBox(found.error, found.fix));
    const text = make("pre", "s-reward-source", found.text);
    text.tabIndex = 0;
    text.setAttribute("aria-label", "The file's text");
    const tick = make("input");
    tick.type = "checkbox";
    tick.checked = rules()[place].sha256 === found.sha256;
    tick.addEventListener("change", () => change(place, { sha256: tick.checked ? found.sha256 : "" }));
    const label = make("label", "s-check");
    label.append(tick, "I have read this file. It may run on this computer, with my rights.");
    box.replaceChildren(text, make("p", "s-note", `sha256 ${found.sha256}`), label);
  };
  const path = field("File", rule.path, (value) => {
    change(place, { path: value.trim(), sha256: "" });
    look();
  }, { placeholder: "/home/me/reward.py" });
  look();
  return [path, button("Read it again", look, "s-link"), box];
};
const details = (rule, place) => {
  const set = (name) => (value) => change(place, { [name]: value });
  if (rule.kind === "regex") return [field("Pattern", rule.pattern, set("pattern"), { placeholder: "^\\d+$" })];
  if (rule.kind === "length") {
    return [
      field("Fewest words", rule.min_words, set("min_words"), number),
      field("Most words (0: no limit)", rule.max_words, set("max_words"), number),
    ];
  }
  if (rule.kind === "json") {
    const write = (text) => change(place, { keys: text.split(",").map((key) => key.trim()).filter(Boolean) });
    return [field("With these keys, parted by commas (empty: any)", rule.keys.join(", "), write)];
  }
  return rule.kind === "python" ? consent(rule, place) : [];
};
const line = (rule, place) => {
  const box = make("li", "s-mix-line s-reward");
  const gone = button("Remove", () => {
    keep(rules().filter((_, i) => i !== place));
    draw();
  }, "s-link");
  gone.setAttribute("aria-label", `Remove reward ${place + 1}`);
  box.append(
    make("b", "", KINDS[rule.kind] || rule.kind),
    field("Weight", rule.weight, (value) => change(place, { weight: value }), { type: "number", step: "any" }),
    gone, ...details(rule, place),
  );
  return box;
};
const draw = () => {
  shown = JSON.stringify(rules());
  none.hidden = rules().length > 0;
  list.replaceChildren(...rules().map(line));
};
element.replaceChildren(none, list, adding);
// Typing must not be disturbed by its own echo.
watch("value", () => { if (JSON.stringify(rules()) !== shown) draw(); });
draw();
