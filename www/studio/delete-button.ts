import { make } from "./dom.js";

/** A button that deletes what has that name, after a question. It waits while other work is done. */
export function deleteButton(name: string, question: string, on_yes: () => void): HTMLButtonElement {
  const button = make("button", "small", "Delete");
  button.type = "button";
  button.dataset.idle = "";
  button.setAttribute("aria-label", `Delete ${name}`);
  button.addEventListener("click", () => {
    if (confirm(question)) on_yes();
  });
  return button;
}
