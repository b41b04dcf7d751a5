import type { AdapterCard, AdapterInspection, CardSummary } from "tabtune/exchange";
import { bytes, count, fixed } from "../ui/format.js";
import { modelWords, namedBy, type ModelName } from "../train/model-name.js";

/** What is known of an adapter, whether it is on the shelf or not. */
export interface Told {
  inspection: AdapterInspection;
  card: AdapterCard | null;
  signed_by: { name: string; fingerprint: string } | null;
}

/** The model that is loaded. */
export interface Base {
  name: ModelName;
  fingerprint: string;
}

/** A line of a card: what is told, and that. Both are shown as plain text, whatever is in them. */
export type Line = [about: string, told: string];

/** The model that an adapter says it was trained on. */
export function baseOf({ card, inspection }: Told): ModelName | undefined {
  return namedBy(card?.base_model?.name_or_path ?? inspection.base_model_name_or_path);
}

/** Whether an adapter is for a model: its fingerprint tells for sure, and its name as a person knows it. */
export function fits(told: Told, base: Base): "yes" | "no" | "unknown" {
  const made_on = told.card?.base_model?.fingerprint;
  if (made_on !== undefined) return made_on === base.fingerprint ? "yes" : "no";
  const name = baseOf(told);
  if (!name || name.kind === "folder") return "unknown";
  return name.kind === base.name.kind && modelWords(name) === modelWords(base.name) ? "yes" : "no";
}

const FITS = {
  yes: "Yes, the model that is loaded.",
  no: "Not the model that is loaded.",
  unknown: "Nobody knows: it does not tell enough of its model.",
};

/** The lines of an adapter's card. */
export function linesOf(told: Told, base: Base | undefined): Line[] {
  const { card, inspection, signed_by } = told;
  const made_for = baseOf(told);
  const lines: (Line | undefined)[] = [
    ["Made for", made_for ? modelWords(made_for) : "a model that it does not name"],
    base && ["Fits", FITS[fits(told, base)]],
    ["Signed", signed_by ? `by “${signed_by.name || "somebody without a name"}”, with the key ${signed_by.fingerprint}` : unsigned(card)],
    ["Touches", touched(inspection)],
    ["Size", `${bytes(inspection.bytes)}, ${count(inspection.parameters, "value")} of rank ${inspection.ranks.join(", ")}`],
    ...summaryOf(card ?? {}),
  ];
  return lines.filter((line) => line !== undefined);
}

/** The lines of what a gallery says of an adapter. */
export function galleryLines({ base_model, signer, fingerprint, ...card }: CardSummary): Line[] {
  const made_for = namedBy(base_model);
  const lines: (Line | undefined)[] = [
    made_for && ["Made for", modelWords(made_for)],
    signer === undefined ? undefined : ["Signed", `by “${signer}”, with the key ${fingerprint ?? "?"}, as the gallery says`],
    ...summaryOf(card),
  ];
  return lines.filter((line) => line !== undefined);
}

function unsigned(card: AdapterCard | null): string {
  return card ? "by nobody: anyone may have written this card" : "by nobody, and there is no card";
}

/** What a card calls the ways to learn that have another name on the page. */
const METHODS: Partial<Record<string, string>> = { sft: "from examples", blend: "by mixing others", federated: "together with others" };

/** What both a card and a gallery tell. */
function summaryOf(card: Partial<Pick<CardSummary, "method" | "rows" | "steps" | "loss_before" | "loss_after" | "license" | "author" | "words" | "date">>): (Line | undefined)[] {
  const { method, rows, steps, loss_before, loss_after, license, author, words, date } = card;
  const learnt = [method && (METHODS[method] ?? method), rows !== undefined && count(rows, "row"), steps !== undefined && count(steps, "step")].filter(Boolean);
  const losses = [loss_before, loss_after].filter((loss) => loss !== undefined).map(fixed);
  return [
    learnt.length > 0 ? ["Learnt", learnt.join(", ")] : undefined,
    losses.length > 0 ? ["Held-out loss", losses.length === 2 ? `${losses[0]} before, ${losses[1]} after` : losses[0]!] : undefined,
    ["Licence", license ?? "none is told: ask before you pass it on"],
    author === undefined ? undefined : ["By", author],
    date === undefined ? undefined : ["Made", new Date(date).toLocaleDateString(undefined, { dateStyle: "medium" })],
    words === undefined ? undefined : ["In the author's words", words],
  ];
}

function touched({ modules, layers, whole, biases, embeddings }: AdapterInspection): string {
  const parts = [`${modules.join(", ")} in ${count(layers.length, "layer")}`];
  if (biases > 0) parts.push(biases === 1 ? "1 bias" : `${biases.toLocaleString("en")} biases`);
  if (whole.length > 0) parts.push(`all of ${whole.join(", ")}`);
  if (embeddings) parts.push("the vocabulary");
  return parts.join("; ");
}
