// The files whose questions must not be in training. Builds on elements.js.
const state = { about: { dataset: "" } };
const askFiles = asker("files");
const problem = make("div");
problem.setAttribute("role", "alert");
const list = make("ul", "s-files");
list.setAttribute("aria-label", "Files whose questions must not be in training");
element.replaceChildren(problem, list);

const leaveOut = async (path) => {
  let answer;
  try {
    answer = await server.leave_out({ ...state.about, path });
  } catch {
    answer = { error: "The studio does not answer.", fix: "Is it still running? Then try again." };
  }
  problem.replaceChildren(...(answer.error ? [problemBox(answer.error, answer.fix)] : []));
  if (!answer.error) trigger("kept", { dataset: answer.dataset });
};
const lineOf = (file) => {
  const line = make("li");
  const name = make("span", "", file.name);
  name.title = file.path;
  if (file.missing) name.append(" ", make("span", "s-tag bad", "✕ not found"));
  const press = button("Leave out", () => leaveOut(file.path), "s-link");
  press.setAttribute("aria-label", `Leave out ${file.name}`);
  line.append(name, press);
  return line;
};
const load = async () => {
  if (!state.about.dataset) return;
  const data = await askFiles(state.about);
  if (data === null) return;
  problem.replaceChildren(...(data.error ? [problemBox(data.error, data.fix)] : []));
  if (!data.error) list.replaceChildren(...data.files.map(lineOf));
};
const refresh = () => {
  state.about = { dataset: props.value?.dataset || "" };
  load();
};
watch("value", refresh);
refresh();
