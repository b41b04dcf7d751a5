import type uPlot from "uplot";

export const FONT = "12px system-ui, sans-serif";

/** A colour of the page by its name in the style sheet. */
export function color(name: string): string {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** What the axes of all charts have in common. */
export function axis(): uPlot.Axis {
  return {
    stroke: color("--soft"),
    grid: { stroke: color("--line"), width: 1 },
    ticks: { show: false },
    font: FONT,
  };
}

/** Calls when the person's choice of light or dark changes. Charts are drawn with fixed colours. */
export function onTheme(changed: () => void): void {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
}
