/** Pictures of a ring that fills: from none to all of it. */
const LAST = 8;

/** Which picture stands for so much of a run. The full ring is for the end alone. */
export function ringOf(percent: number): number {
  return Math.min(LAST, Math.max(0, Math.floor((percent * LAST) / 100)));
}

/** The page's own icon, to be shown again. */
let own: string | undefined;

/** Shows in the tab's icon how far a run has come; undefined where none goes on. */
export function showRing(percent: number | undefined): void {
  const icon = document.querySelector<HTMLLinkElement>('link[rel="icon"]');
  if (!icon) return;
  own ??= icon.href;
  const wanted = percent === undefined ? own : new URL(`icon-${ringOf(percent)}.svg`, document.baseURI).href;
  if (icon.href !== wanted) icon.href = wanted;
}
