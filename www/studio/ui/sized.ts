/**
 * Calls when a part of the page has another size. In a place that is hidden it has none, and nothing is drawn there. What
 * is drawn has a size itself, so it waits for the next frame: browsers complain of sizes that change while they are told.
 */
export function onSize(part: HTMLElement, changed: () => void): void {
  new ResizeObserver(() => requestAnimationFrame(() => part.clientWidth > 0 && changed())).observe(part);
}
