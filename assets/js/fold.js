// The title of a fold: a button that shows and hides what stands beside it, which is on the page
// all the time (components/page.py says why).

const fold = () => element.closest(".s-fold");
const turn = () => {
  const open = fold().classList.toggle("open");
  title.setAttribute("aria-expanded", String(open));
  if (open) trigger("opened", {});
};
const title = button(props.value, turn, "s-fold-title");
title.setAttribute("aria-expanded", String(fold()?.classList.contains("open") ?? false));
element.replaceChildren(title);
