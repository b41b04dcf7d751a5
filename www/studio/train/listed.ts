import { fitOf, type Fit, type Room } from "./fits.js";
import { hubIdIn } from "./model-name.js";
import models from "./models.json";

/** A model of the hub that the page lists. */
export interface Listed {
  name: string;
  /** The hub's. */
  id: string;
  parameters: number;
  /** About. */
  download_bytes: number;
  /** What the estimate says of a run with the page's settings. */
  run_gpu_bytes: number;
  licence: string;
  /** Whether the hub gives it only to those who accepted its licence. */
  gated: boolean;
  /** Languages that its makers name, as codes: of many the most spoken. */
  languages: readonly string[];
  /** How many they name. */
  language_count: number;
  /** Whether it thinks before it answers, unless it is told not to. */
  thinks: boolean;
}

export const LISTED: readonly Listed[] = models;

/** 134515008 → "135M", 1720574976 → "1.7B" */
export function parameterWords(count: number): string {
  return count < 995e6 ? `${Math.round(count / 1e6)}M` : `${(count / 1e9).toFixed(1)}B`;
}

/** 570000000 → "570 MB", 2480000000 → "2.5 GB" */
export function roundedBytes(count: number): string {
  return count < 995e6 ? `${Math.round(count / 1e7) * 10} MB` : `${(count / 1e9).toFixed(1)} GB`;
}

/** "English", or how many it speaks. */
export function languageWords({ languages, language_count }: Pick<Listed, "languages" | "language_count">): string {
  if (language_count === 1) return languageName(languages[0]!);
  return `${language_count}${language_count >= 100 ? "+" : ""} languages`;
}

const names = new Intl.DisplayNames("en", { type: "language" });

export function languageName(code: string): string {
  return names.of(code) ?? code;
}

/** All languages that a listed model speaks, by name. */
export function languagesListed(): { code: string; name: string }[] {
  const codes = [...new Set(LISTED.flatMap(({ languages }) => languages))];
  return codes.map((code) => ({ code, name: languageName(code) })).sort((a, b) => a.name.localeCompare(b.name));
}

/** What a person looks for in the list; "" stands for anything. */
export interface Wanted {
  size: "" | "small" | "middle" | "large";
  language: string;
  kind: "" | "answers" | "thinks" | "free" | "here";
}

export const ANYTHING: Wanted = { size: "", language: "", kind: "" };

/** Downloads in bytes below which a model is small, and not large. */
const SIZES = { small: 8e8, middle: 2.5e9 };

export function isWanted(model: Listed, { size, language, kind }: Wanted, is_here: boolean): boolean {
  const { download_bytes, languages, thinks, gated } = model;
  const its_size = download_bytes < SIZES.small ? "small" : download_bytes < SIZES.middle ? "middle" : "large";
  const kinds = { answers: !thinks, thinks, free: !gated, here: is_here };
  return (size === "" || size === its_size) && (language === "" || languages.includes(language)) && (kind === "" || kinds[kind]);
}

/** What to take for rows of one's own, from the smallest: each with what it is better for than the others. */
const ADVICE = [
  { id: "HuggingFaceTB/SmolLM2-135M-Instruct", why: "the quickest" },
  { id: "HuggingFaceTB/SmolLM2-360M-Instruct", why: "knows more" },
  { id: "Qwen/Qwen3-0.6B", why: "for other languages too" },
] as const;

/** Those of them that are not too large here. */
export function advised(room: Room): { model: Listed; why: string; fit: Fit }[] {
  const all = ADVICE.map(({ id, why }) => {
    const model = LISTED.find((listed) => listed.id === id)!;
    return { model, why, fit: fitOf(model.run_gpu_bytes, room) };
  });
  return all.filter(({ fit }) => fit !== "too large here");
}

/** The listed model that is written in the field, as an id or as its page's address. */
export function listedBy(text: string): Listed | undefined {
  const id = hubIdIn(text);
  return LISTED.find((model) => model.id === id);
}
