import { make } from "./dom.js";

/** A small button of a list, for what has that name, if it has one. It waits while other work is done. */
export function smallButton(word: string, name: string, on_click: () => void): HTMLButtonElement {
  const button = make("button", "small", word);
  button.type = "button";
  button.dataset.idle = "";
  if (name) button.setAttribute("aria-label", `${word} ${name}`);
  button.addEventListener("click", on_click);
  return button;
}

/** A button that deletes what has that name, after a question. */
export function deleteButton(name: string, question: () => string, on_yes: () => void): HTMLButtonElement {
  return smallButton("Delete", name, () => {
    if (confirm(question())) on_yes();
  });
}
