import { signal, type ReadonlySignal } from "@preact/signals";
import { element } from "../ui/dom.js";

/** What another place of the page says there, as it says it: one part writes it, and others only show it. */
export function textOf(id: string): ReadonlySignal<string> {
  return mirrored(id, (source) => source.textContent ?? "", { childList: true, characterData: true, subtree: true });
}

/** How far a bar has come; undefined while its end cannot be told. */
export function barOf(id: string): ReadonlySignal<number | undefined> {
  const valueOf = (source: HTMLElement) => (source.hasAttribute("value") ? Number(source.getAttribute("value")) : undefined);
  return mirrored(id, valueOf, { attributes: true, attributeFilter: ["value"] });
}

function mirrored<T>(id: string, read: (source: HTMLElement) => T, what: MutationObserverInit): ReadonlySignal<T> {
  const source = element(id);
  const seen = signal(read(source));
  new MutationObserver(() => (seen.value = read(source))).observe(source, what);
  return seen;
}
