import type { FederationEvent, Offer, Round, Terms } from "tabtune/federated";
import { bytes, count, fixed } from "../ui/format.js";
import { modelWords, namedBy, type ModelName } from "../train/model-name.js";
import type { Line } from "../library/shelf-words.js";

/** What a federation may call the model that comes with the page. */
const BUNDLED = ["bundled", "tabtune/tiny"];

const BYTES_OF_A_VALUE = { f32: "4 bytes", f16: "2 bytes", nf4: "about half a byte" };

/** The model that a federation trains, as the page chooses it. */
export function modelOf({ base_model_name_or_path: name }: Pick<Terms, "base_model_name_or_path">): ModelName {
  if (BUNDLED.includes(name)) return { kind: "bundled", name: "" };
  return namedBy(name) ?? { kind: "folder", name };
}

/** Whether a model that was chosen is the one that is trained together. Of files nobody knows before they are loaded. */
export function isChosen(terms: Terms, chosen: ModelName | undefined): "yes" | "no" | "unknown" {
  const wanted = modelOf(terms);
  if (chosen?.kind === "folder") return wanted.kind === "bundled" ? "no" : "unknown";
  return chosen?.kind === wanted.kind && modelWords(chosen) === modelWords(wanted) ? "yes" : "no";
}

/** What to say of a model that is not known to be the right one. */
export function modelNote(terms: Terms, chosen: ModelName | undefined): string {
  const wanted = modelWords(modelOf(terms));
  const is = isChosen(terms, chosen);
  if (is === "yes") return "";
  if (is === "unknown") return `Here ${wanted} is trained. Whether your files are that model shows when you look.`;
  const other = chosen ? `, and ${modelWords(chosen)} is chosen` : "";
  return `Here ${wanted} is trained${other}.`;
}

/** What a server asks of those who join, before anything is loaded. */
export function termsLines(terms: Terms): Line[] {
  const { operator, purpose, rounds, train, min_clients, enrolled } = terms;
  const length = train.max_steps === undefined ? `${count(train.num_train_epochs!, "pass")} over your rows` : count(train.max_steps, "step");
  const lines: (Line | undefined)[] = [
    ["Run by", operator],
    purpose === undefined ? undefined : ["For", purpose],
    ["Model", modelOf(terms).kind === "bundled" ? "The one that comes with this page" : modelWords(modelOf(terms))],
    ["Rounds", `${rounds.toLocaleString("en")}. In each, your browser trains for ${length} and sends what that changed.`],
    ["Who may join", `${enrolled ? "Those whom the operator has put on a list." : "Anyone."} A round begins once ${min_clients} are there.`],
  ];
  return lines.filter((line) => line !== undefined);
}

/** The rows that somebody would take part with. */
export interface Mine {
  name: string;
  rows: number;
  held_out: number;
}

/** All that joining with these rows means, with its numbers. */
export function offerLines(offer: Offer, mine: Mine): Line[] {
  const { terms, server, values, bytes_up, bytes_down, steps } = offer;
  const { rounds, privacy } = terms;
  const each = privacy.mask ? "4 bytes" : BYTES_OF_A_VALUE[terms.delta_dtype];
  const numbers = `The numbers by which ${count(values, "small part")}`;
  const in_all = `${bytes(rounds * bytes_up)} in all. ${bytes(bytes_down)} come back a round.`;
  return [
    ["Trains on", `${count(mine.rows, "row")} of “${mine.name}”`],
    ["Stays here", "Your rows, and what you ask the model. They never leave this browser."],
    ["Is sent", `${numbers} of the model changed, in ${each} each: ${bytes(bytes_up)} a round. ${besideWords(terms, mine)}`],
    ["To", `${server}, the server of this page`],
    ["How often", `Once in each of ${count(rounds, "round")}, after ${count(steps, "step")} on your rows: ${in_all}`],
    ["Hidden", hiddenWords(terms)],
    ["Noise", noiseWords(terms)],
    ["Rests", "As you have it under “When to rest” in the settings: power, heat and metered connections count for rounds too."],
    ["Time", timeOf(terms)],
  ];
}

/** What goes along with the numbers. */
function besideWords({ privacy, evaluate }: Terms, { held_out }: Mine): string {
  const told = privacy.mask
    ? "With them, how many steps were made; your rows' number and their mean loss only within the sum."
    : "With them, how many rows you have, how many steps were made, and their mean loss.";
  if (!evaluate || held_out === 0) return told;
  return `${told} Also how many rows you hold out, ${held_out.toLocaleString("en")}, and the loss on them.`;
}

function hiddenWords({ privacy }: Terms): string {
  if (privacy.mask) return "Masked: the server sees the sum of what all send, and not your part of it.";
  return "Not masked: the server sees your own changes, from which something of your rows can sometimes be guessed.";
}

function noiseWords({ privacy }: Terms): string {
  const { noise, noise_multiplier, clip } = privacy;
  const cut = clip === null ? "" : ` Changes are cut to a length of ${clip} before they leave.`;
  const by = (clip ?? 0) * noise_multiplier;
  const size = `of deviation ${Number(by.toPrecision(3))}`;
  if (noise === "local") return `Your browser adds noise ${size} before it sends, so that single rows can hardly be told from it.${cut}`;
  if (noise === "central") {
    return `The server adds noise ${size} to the sum, so that single people can hardly be told from it; that it does so is a matter of trust.${cut}`;
  }
  return `None is added.${cut}`;
}

/** What a server waits for in a round, each time up to `round_seconds`: steps, their measuring, and the four phases of masks. */
function waitsIn({ evaluate, privacy }: Terms): number {
  return 1 + (evaluate ? 1 : 0) + (privacy.mask ? 4 : 0);
}

function timeOf(terms: Terms): string {
  const most = timeWords(terms.rounds * waitsIn(terms) * terms.round_seconds);
  return `Once enough are there, ${most} at most for all rounds, and mostly far less. Keep this tab open: rounds go on without you.`;
}

/** 90 → "90 seconds", 600 → "10 minutes" */
export function timeWords(seconds: number): string {
  if (seconds < 120) return count(Math.ceil(seconds), "second");
  if (seconds < 7200) return count(Math.ceil(seconds / 60), "minute");
  return count(Math.ceil(seconds / 3600), "hour");
}

/** Whether a list of keys has this one; of PEM only what is between its first and last line counts. */
export function isEnrolled({ enrolled }: Terms, public_key: string): boolean {
  const bare = (pem: string) => pem.replace(/-----[^-]+-----|\s/g, "");
  return enrolled === null || enrolled.some((pem) => bare(pem) === bare(public_key));
}

/** A fingerprint in groups that can be read aloud. */
export function grouped(fingerprint: string): string {
  return fingerprint.match(/.{1,4}/g)?.join(" ") ?? "";
}

/** What an event means for somebody who waits; undefined where it says nothing of that. */
export function eventWords(event: FederationEvent): string | undefined {
  switch (event.type) {
    case "joined":
      return "You have joined. The server begins a round once enough are there.";
    case "waiting":
      return `Waiting: ${event.detail}.`;
    case "round":
      return event.is_resumed ? "Going on where this browser was…" : "Measuring and training on your rows…";
    case "sent":
      return `Sent ${bytes(event.bytes)}. Waiting for the others…`;
    case "evaluated":
      return `Measured what all have made together, on ${count(event.rows, "held-out row")}.`;
    case "clipped":
      return `Before it is sent, ${event.detail}.`;
    case "refused":
      return `Something that the server asked for was refused: ${event.detail}`;
    case "run":
      if (event.event.type === "resting") return `Resting because ${event.event.detail}.`;
      return event.event.type === "rested" ? "Going on…" : undefined;
    default:
      return undefined;
  }
}

/** The loss of a round, before and after one's own steps. */
export function lossWords({ loss_before, loss_after }: Pick<Round, "loss_before" | "loss_after">): string {
  return `${fixed(loss_before)} → ${fixed(loss_after)}`;
}

/** How taking part came to its end, or where it stands. */
export function togetherEnd(round: number, rounds: number, is_over: boolean): string {
  if (is_over) return `All ${count(rounds, "round")} are over. What was learnt together is in the Library.`;
  if (round === 0) return "You have left before your first step. Nothing was learnt.";
  return `You have left in round ${round} of ${rounds}. What was learnt so far is in the Library.`;
}
