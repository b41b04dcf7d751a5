/** The element of that id; the page has it, or is broken. */
export function element<T extends HTMLElement = HTMLElement>(id: string): T {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found as T;
}

export function show(id: string, shown: boolean): void {
  element(id).hidden = !shown;
}

export function write(id: string, text: string): void {
  element(id).textContent = text;
}

/** Says what goes on, to the eye and to screen readers; what ticks is written to `status` alone. */
export function say(text: string): void {
  for (const id of ["status", "said"]) write(id, text);
}

/** A new element of that class, with what is to be in it. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  class_name: string,
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  if (class_name) made.className = class_name;
  made.append(...children);
  return made;
}

/** The head of a column or of a row of a table. */
export function heading(scope: "col" | "row", text: string): HTMLElement {
  const cell = make("th", "", text);
  cell.scope = scope;
  return cell;
}
