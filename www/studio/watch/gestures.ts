import { moved, zoomed, type Range } from "./zoom.js";

/** What keys and fingers move: a part of a whole. */
export interface Zoomable {
  readonly range: Range;
  readonly whole: Range;
  valueAt(client_x: number): number | undefined;
  /** Undefined shows all. */
  zoom(range: Range | undefined): void;
}

/** How much nearer one key or click goes. */
const NEARER = 0.6;
/** How far an arrow moves, in widths of what is seen. */
const FURTHER = 0.2;

/** Goes nearer, or further away. */
export function zoomIn(target: Zoomable, is_nearer: boolean): void {
  target.zoom(zoomed(target.range, target.whole, is_nearer ? NEARER : 1 / NEARER));
}

/** Lets keys, a double click and fingers move what is seen in a part of the page. */
export function beginGestures(box: HTMLElement, target: Zoomable): void {
  box.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !pressed(event.key, target)) return;
    event.preventDefault();
  });
  box.addEventListener("dblclick", () => target.zoom(undefined));
  beginFingers(box, target);
}

function pressed(key: string, target: Zoomable): boolean {
  const { range, whole } = target;
  if (key === "+" || key === "=") zoomIn(target, true);
  else if (key === "-") zoomIn(target, false);
  else if (key === "0" || key === "Home") target.zoom(undefined);
  else if (key === "ArrowLeft") target.zoom(moved(range, whole, -FURTHER));
  else if (key === "ArrowRight") target.zoom(moved(range, whole, FURTHER));
  else return false;
  return true;
}

/** Two fingers zoom, one moves what is seen sideways. Up and down the page scrolls as ever. */
function beginFingers(box: HTMLElement, target: Zoomable): void {
  const fingers = new Map<number, number>();
  box.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "touch") fingers.set(event.pointerId, event.clientX);
  });
  box.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (before === undefined) return;
    const others = [...fingers].filter(([id]) => id !== event.pointerId).map(([, x]) => x);
    fingers.set(event.pointerId, event.clientX);
    const { range, whole } = target;
    const other = others[0];
    if (other === undefined) {
      const [from, to] = [target.valueAt(event.clientX), target.valueAt(before)];
      const is_all = range[0] === whole[0] && range[1] === whole[1];
      if (from !== undefined && to !== undefined && !is_all) target.zoom(moved(range, whole, (to - from) / (range[1] - range[0])));
      return;
    }
    const apart = Math.max(1, Math.abs(event.clientX - other));
    const times = Math.max(1, Math.abs(before - other)) / apart;
    target.zoom(zoomed(range, whole, times, target.valueAt((event.clientX + other) / 2)));
  });
  for (const kind of ["pointerup", "pointercancel"] as const) box.addEventListener(kind, ({ pointerId }) => fingers.delete(pointerId));
}
