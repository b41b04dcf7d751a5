import { deltaBytes, refuse, type Terms } from "./terms.js";
import type { Bounds, Offer } from "./types.js";

/** Of a matrix or a vector that learns: its name in PEFT's files, its rows, and its columns, 1 for a vector. */
export interface LayoutEntry {
  name: string;
  rows: number;
  cols: number;
}

/** What a run exchanges. */
export interface Layout {
  learns: LayoutEntry[];
  /** What belongs to it and stays as it came. */
  frozen: LayoutEntry[];
}

const DEFAULT_BOUNDS: Required<Bounds> = { max_steps: 1000, max_rounds: 1000, max_bytes: 256 << 20, masked: false, noised: false };

/** How many values entries have. */
export function valuesOf(entries: readonly LayoutEntry[]): number {
  return entries.reduce((sum, { rows, cols }) => sum + rows * cols, 0);
}

/** What joining means for a run with this layout. */
export function offerOf(
  terms: Terms,
  known: { address: string; layout: Layout; steps: number; fingerprint: string; public_key: string },
): Offer {
  const { address: server, layout, steps, fingerprint, public_key } = known;
  const values = valuesOf(layout.learns);
  const bytes_down = 4 * values * (terms.evaluate ? 2 : 1);
  return { terms, server, values, bytes_up: deltaBytes(values, terms), bytes_down, steps, fingerprint, public_key };
}

/** Throws where terms, or what they mean for a run, are beyond what a person lets a server ask for. */
export function withinBounds(terms: Terms, given: Bounds, offer?: Offer): void {
  const bounds = { ...DEFAULT_BOUNDS, ...given };
  const steps = offer?.steps ?? terms.train.max_steps ?? 0;
  const most = (what: string, name: keyof Bounds, value: number) => {
    if (value > Number(bounds[name])) {
      throw refuse(`the federation asks for ${value} ${what}, and bounds.${name} is ${bounds[name]}: raise it, or do not join`);
    }
  };
  most("steps a round", "max_steps", steps);
  most("rounds", "max_rounds", terms.rounds);
  if (offer) most("bytes a round", "max_bytes", offer.bytes_up);
  if (bounds.masked && !terms.privacy.mask) throw refuse("bounds.masked is true, and the federation masks nothing: its server would see your own delta");
  if (bounds.noised && terms.privacy.noise === "none") throw refuse("bounds.noised is true, and the federation adds no noise");
}
