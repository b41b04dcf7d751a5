import { fitOf, shareOf, type Fit, type Room } from "./fits.js";

const CLASSES: Record<Fit, string> = { fits: "fits", "may not fit": "may-not-fit", "too large here": "too-large" };

/** Whether a run fits, in words and as a small bar. */
export function FitSign({ taken, room }: { taken: number; room: Room }) {
  const fit = fitOf(taken, room);
  return (
    <span class={`fit ${CLASSES[fit]}`}>
      <span class="fit-bar" aria-hidden="true">
        <i style={{ width: `${100 * shareOf(taken, room)}%` }} />
      </span>
      {fit}
    </span>
  );
}
