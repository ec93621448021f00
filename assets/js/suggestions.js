// Prompts to try, one button each; pressing one sends it.

function draw() {
  const prompts = props.value || [];
  if (prompts.length === 0) {
    element.replaceChildren();
    return;
  }
  const row = document.createElement("div");
  row.className = "suggestions";
  row.setAttribute("role", "group");
  row.setAttribute("aria-label", "Prompts from this run's validation rows");
  const title = document.createElement("span");
  title.className = "s-note";
  title.textContent = "Try, from rows it was not trained on:";
  row.append(
    title,
    ...prompts.map((text) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "suggestion";
      button.textContent = text;
      button.title = text;
      button.addEventListener("click", () => trigger("select", { text }));
      return button;
    }),
  );
  element.replaceChildren(row);
}

watch("value", draw);
draw();
