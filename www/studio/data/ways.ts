import { Draft } from "./draft.js";

/** Where rows come from: typed here, picked as files, kept before, or the ones that come with the page. */
export type Way = "type" | "file" | "kept" | "bundled";

const WAYS: readonly string[] = ["type", "file", "kept", "bundled"] satisfies Way[];

/** The way that was chosen last, and of the kept datasets the one that was. */
export interface ChosenWay {
  way: Way;
  kept: string | null;
}

/** How the rows were chosen when the page was last open. */
export const chosenWay = new Draft<ChosenWay>("way", 1, ({ way, kept }) => WAYS.includes(way) && (kept === null || typeof kept === "string"));
