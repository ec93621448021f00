// Editing the chosen row: its texts as boxes, remove, put back. Builds on elements.js; row.js draws
// what stands below. Gives: editButtons, editForm, editShown.
const edit = { open: false, busy: false, about: {}, index: null, state: "", drafts: new Map(), show: null, wanted: null };
const editForm = make("form", "s-row-form");
editForm.hidden = true;
editForm.setAttribute("aria-label", "Edit the row");
const editStart = button("Edit", () => openEdit());
const editDrop = button("Remove row", () => changeRow("remove_row"));
const editBack = button("Put back", () => changeRow("restore_row"));
const editButtons = make("span", "s-row-actions");
editButtons.append(editStart, editDrop, editBack);
// Until a row is shown.
for (const one of [editStart, editDrop, editBack]) one.hidden = true;
const editProblem = make("div");
editProblem.setAttribute("role", "alert");
const editSave = button("Save", () => editForm.requestSubmit(), "s-button s-primary");
const editCancel = button("Cancel", () => closeEdit(true));
const draftKey = () => `${edit.about.dataset}:${edit.index}`;

const askServer = async (name, question) => {
  try {
    return await server[name](question);
  } catch {
    return { error: "The studio does not answer.", fix: "Is it still running? Then try again." };
  }
};
const setBusy = (busy) => {
  edit.busy = busy;
  for (const one of [editStart, editDrop, editBack, editSave]) one.disabled = busy;
  editSave.textContent = busy && edit.open ? "Saving…" : "Save";
};
// What was kept is told to the page; the row comes back with its new tokens and closes the form.
const takeOver = (answer) => {
  if (answer.dataset !== edit.about.dataset) edit.show = { dataset: answer.dataset, index: edit.index };
  trigger("kept", { dataset: answer.dataset });
};

const fieldOf = (box, draft) => {
  const label = make("label", "s-edit-box");
  label.append(make("span", "s-edit-label", box.label));
  let field;
  if (box.kind === "role") {
    field = make("select", "s-select");
    for (const choice of box.choices) field.append(new Option(choice, choice));
    label.classList.add("s-edit-role");
  } else {
    field = make("textarea", `s-edit-text${box.kind === "value" ? " s-mono" : ""}`);
    field.spellcheck = box.kind === "text";
    field.rows = Math.min(Math.max(box.text.split("\n").length, Math.ceil(box.text.length / 52), 1), 12);
  }
  field.value = draft?.get(box.path) ?? box.text;
  field.dataset.path = box.path;
  field.dataset.was = box.text;
  label.append(field);
  return label;
};
const fields = () => [...editForm.querySelectorAll("[data-path]")];
// A text box turns every line end into \n: that alone is no change.
const lines = (text) => text.replace(/\r\n?/g, "\n");
const changedFields = () => fields().filter((field) => lines(field.value) !== lines(field.dataset.was));

const openEdit = async () => {
  if (edit.index === null || edit.busy) return;
  const about = { ...edit.about, index: edit.index };
  setBusy(true);
  const answer = await askServer("texts", about);
  setBusy(false);
  if (about.index !== edit.index || about.dataset !== edit.about.dataset) return;
  edit.open = true;
  editStart.hidden = true;
  editForm.hidden = false;
  editProblem.replaceChildren();
  if (answer.error) {
    editForm.replaceChildren(problemBox(answer.error, answer.fix), editCancel);
    editCancel.focus();
    return;
  }
  const draft = edit.drafts.get(draftKey());
  const head = [make("p", "s-note", "Saved as a change of its own that can be undone; the file stays as it was.")];
  if (draft) head.push(make("p", "s-finding", "Your text that was not saved yet is back."));
  if (!answer.boxes.length) head.push(make("p", "s-finding", "This row has no text that training reads. Check the columns in the Reading view."));
  const actions = make("div", "s-edit-actions");
  actions.append(editSave, editCancel, make("span", "s-note", "Ctrl+Enter saves, Esc cancels"));
  editForm.replaceChildren(...head, ...answer.boxes.map((box) => fieldOf(box, draft)), editProblem, actions);
  (fields().find((field) => field.tagName === "TEXTAREA") || editCancel).focus();
};
const closeEdit = (focus) => {
  if (focus) edit.drafts.delete(draftKey());
  edit.open = false;
  editForm.hidden = true;
  editForm.replaceChildren();
  editStart.hidden = edit.state === "removed";
  setBusy(false);
  if (focus) editStart.focus();
};
const saveEdit = async () => {
  if (edit.busy) return;
  const changed = changedFields();
  if (!changed.length) return closeEdit(true);
  const values = Object.fromEntries(changed.map((field) => [field.dataset.path, field.value]));
  edit.drafts.set(draftKey(), new Map(Object.entries(values)));
  setBusy(true);
  editProblem.replaceChildren();
  const answer = await askServer("save_row", { ...edit.about, index: edit.index, values });
  if (answer.error) {
    setBusy(false);
    editProblem.replaceChildren(problemBox(answer.error, answer.fix));
    return;
  }
  edit.drafts.delete(draftKey());
  takeOver(answer);
  closeEdit(false);
  editStart.focus();
};
const changeRow = async (name) => {
  if (edit.index === null || edit.busy) return;
  setBusy(true);
  const answer = await askServer(name, { ...edit.about, index: edit.index });
  setBusy(false);
  if (answer.error) {
    editForm.hidden = false;
    editForm.replaceChildren(problemBox(answer.error, answer.fix), editCancel);
    return;
  }
  takeOver(answer);
  closeEdit(false);
};
editForm.addEventListener("submit", (event) => {
  event.preventDefault();
  saveEdit();
});
editForm.addEventListener("keydown", (event) => {
  event.stopPropagation();
  if (event.key === "Escape") closeEdit(true);
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    saveEdit();
  }
});

// The row's view tells which row it shows, after every drawing.
const editShown = (data, about) => {
  const another = data.index !== edit.index || about.dataset !== edit.about.dataset;
  if (another && edit.open) {
    const changed = changedFields();
    if (changed.length) edit.drafts.set(draftKey(), new Map(changed.map((one) => [one.dataset.path, one.value])));
  }
  const wasOpen = edit.open;
  Object.assign(edit, { about: { ...about }, index: data.index, state: data.state });
  if (another && wasOpen) closeEdit(false);
  const removed = data.state === "removed";
  editDrop.hidden = removed;
  editBack.hidden = !removed;
  editStart.hidden = removed || edit.open;
  // A bundled sample that was copied on the first change begins at its first row.
  if (edit.show?.dataset === about.dataset) {
    const { index } = edit.show;
    edit.show = null;
    if (index !== data.index) tell("row-show", { index });
  }
  if (edit.wanted === data.index) {
    edit.wanted = null;
    openEdit();
  }
};
hear("row-edit", ({ index }) => {
  if (index !== edit.index) edit.wanted = index;
  tell("row-show", { index });
  if (index === edit.index) openEdit();
});
