import type uPlot from "uplot";
import "uplot/dist/uPlot.min.css";

let loaded: typeof uPlot | undefined;

/** What draws curves. It is fetched when the first one is to be drawn, and `later` is called once it is there. */
export function plotting(later: () => void): typeof uPlot | undefined {
  const got = ({ default: plot }: { default: typeof uPlot }) => {
    loaded = plot;
    later();
  };
  // A run goes on without its curves, and each new value asks anew.
  if (!loaded) void import("uplot").then(got, () => undefined);
  return loaded;
}
