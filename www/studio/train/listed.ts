import { element, make, show } from "../ui/dom.js";
import models from "./models.json";
import { hubIdIn } from "./model-name.js";

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
}

export const LISTED: readonly Listed[] = models;

/** Browsers tell no more memory than this, however much there is. */
const MOST_TOLD_GB = 8;

/**
 * Whether a run takes more than half the memory of a device, of which the system and the page need the rest.
 * `device_gb` is what the browser tells; undefined where it tells nothing. No browser tells a GPU's own memory.
 */
export function mayNotFit({ run_gpu_bytes }: Listed, device_gb: number | undefined): boolean {
  return device_gb !== undefined && device_gb < MOST_TOLD_GB && run_gpu_bytes > (device_gb / 2) * 1e9;
}

/** 134515008 → "135M", 1720574976 → "1.7B" */
export function parameterWords(count: number): string {
  return count < 995e6 ? `${Math.round(count / 1e6)}M` : `${(count / 1e9).toFixed(1)}B`;
}

/** 570000000 → "570 MB", 2480000000 → "2.5 GB" */
export function roundedBytes(count: number): string {
  return count < 995e6 ? `${Math.round(count / 1e7) * 10} MB` : `${(count / 1e9).toFixed(1)} GB`;
}

/** What a model asks of a person and of their device, in two lines. */
export function facts({ parameters, download_bytes, run_gpu_bytes, licence, gated }: Listed): [string, string] {
  const terms = [`${roundedBytes(run_gpu_bytes)} memory`, `${licence} licence`, ...(gated ? ["gated"] : [])];
  return [`${parameterWords(parameters)} parameters · ${roundedBytes(download_bytes)} download`, terms.join(" · ")];
}

/** The listed model that is written in the field, as an id or as its page's address. */
export function listedBy(text: string): Listed | undefined {
  const id = hubIdIn(text);
  return LISTED.find((model) => model.id === id);
}

/** Models to pick from. A choice fills the field, and what is written there is chosen here where it is listed. */
export class ModelList {
  readonly #field: HTMLInputElement;
  readonly #buttons: readonly HTMLInputElement[];

  /** `on_choice` is told once the field is filled. */
  constructor(field: HTMLInputElement, on_choice: () => void) {
    this.#field = field;
    const { deviceMemory } = navigator as { deviceMemory?: number };
    const items = LISTED.map((model) => item(model, deviceMemory));
    element("listed").replaceChildren(...items.map(({ entry }) => entry));
    this.#buttons = items.map(({ button }) => button);
    element("listed").addEventListener("change", ({ target }) => {
      field.value = (target as HTMLInputElement).value;
      this.follow();
      on_choice();
    });
    field.addEventListener("input", () => this.follow());
    this.follow();
  }

  /** Shows which model the field names, and what the hub asks for it. */
  follow(): void {
    const named = listedBy(this.#field.value);
    for (const button of this.#buttons) button.checked = button.value === named?.id;
    show("gated-note", named?.gated ?? false);
    if (!named?.gated) return;
    element<HTMLAnchorElement>("gated-page").href = `https://huggingface.co/${named.id}`;
    element<HTMLDetailsElement>("private").open = true;
  }
}

function item(model: Listed, device_gb: number | undefined): { entry: HTMLElement; button: HTMLInputElement } {
  const button = make("input", "");
  Object.assign(button, { type: "radio", name: "listed-model", value: model.id });
  const lines = facts(model).map((line) => make("span", "hint", line));
  const words = make("span", "", make("b", "", model.name), ...lines);
  if (mayNotFit(model, device_gb)) {
    words.append(make("span", "hint warned", `May not fit the ${device_gb} GB of this device.`));
  }
  return { entry: make("li", "", make("label", "", button, words)), button };
}
