import { signal } from "@preact/signals";
import { h, render } from "preact";
import type { FolderSource, HubOptions } from "tabtune";
import { watchFolder, type Directory } from "../data/folder.js";
import { onPlace } from "../shell/places.js";
import { Choice } from "../ui/choice.js";
import { element, show, write } from "../ui/dom.js";
import { Kept } from "../ui/kept.js";
import { MissingInput } from "../ui/missing.js";
import { modelsHere } from "../work/is-here.js";
import { askHub, HubFound } from "./hub-found.js";
import { listedBy } from "./listed.js";
import { ModelCards } from "./model-cards.js";
import { hubIdIn, type ModelName } from "./model-name.js";
import { ToyAdvice } from "./toy-advice.js";

/** The model that was chosen. */
export interface Model {
  source: FolderSource;
  /** How it is reached, where that is a hub. */
  hub: HubOptions;
  name: ModelName;
}

/** Lets a person choose a GGUF, or the parts of one. */
function watchGguf(take: (source: Directory | File, name: string) => void): void {
  const input = element<HTMLInputElement>("gguf");
  element("pick-gguf").addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    const files = [...(input.files ?? [])];
    const [first] = files;
    // Choosing the same file once more is to be told too: it may have been written anew.
    input.value = "";
    if (first) take(files.length === 1 ? first : files, first.name);
  });
}

/** The part of the form that says which model. What was chosen is there again at the next visit, but for files and tokens. */
export class ModelForm {
  readonly #choice: Choice;
  readonly #id = element<HTMLInputElement>("hub-id");
  readonly #token = element<HTMLInputElement>("hub-token");
  readonly #on_change: () => void;
  readonly #kept = new Kept<ModelName>("tabtune:model", 1);
  /** The hub's id that the field names, or whatever else is written there. */
  readonly #named = signal("");
  readonly #here = signal<ReadonlySet<string>>(new Set());
  #folder: { source: Directory | File; name: string } | undefined;

  /** `on_kind` is told when another kind of model is chosen, `on_change` when the model is another one. */
  constructor(on_kind: () => void, on_change: () => void) {
    this.#on_change = on_change;
    this.#restore();
    this.#choice = new Choice("model", () => {
      this.#keep();
      on_kind();
    });
    const take = (source: Directory | File, name: string) => {
      this.#folder = { source, name };
      write("folder-name", name);
      on_change();
    };
    watchFolder(element("pick-folder"), element<HTMLInputElement>("folder"), take);
    watchGguf(take);
    this.#watchHub();
    this.#follow();
    const choose = (id: string) => this.#choose(id);
    render(h(ModelCards, { chosen: this.#named, here: this.#here, choose }), element("models"));
    render(h(HubFound, { chosen: this.#named, choose }), element("hub-found"));
    const take_listed = (id: string) => {
      this.#choice.value = "hub";
      choose(id);
      // The button is gone with that.
      document.querySelector<HTMLInputElement>("#listed :checked, [name=model]:checked")?.focus();
    };
    render(h(ToyAdvice, { here: this.#here, choose: take_listed }), element("toy-advice"));
    onPlace((place) => place === "train" && void this.refresh());
  }

  get bundled(): boolean {
    return this.#choice.value === "bundled";
  }

  /** The model that was chosen, or undefined while there is none. */
  get chosen(): Model | undefined {
    switch (this.#choice.value) {
      case "bundled":
        return { source: "./models/tiny/", hub: {}, name: { kind: "bundled", name: "" } };
      case "folder":
        return this.#folder && { source: this.#folder.source, hub: {}, name: { kind: "folder", name: this.#folder.name } };
      default: {
        // The address of a model's page may tell a revision, so it is passed on as it was written.
        const source = this.#id.value.trim();
        const token = this.#token.value.trim();
        return hubIdIn(source) === undefined ? undefined : { source, hub: token ? { token } : {}, name: { kind: "hub", name: source } };
      }
    }
  }

  /** The model that was chosen by that name before. */
  readAgain({ kind, name }: ModelName): Model {
    this.#choice.value = kind;
    if (kind === "hub") {
      this.#id.value = name;
      this.#follow();
    }
    if (kind === "folder" && !this.#folder) throw new MissingInput(`Choose the model's files “${name}” once more, and then go on.`);
    return this.read();
  }

  read(): Model {
    const chosen = this.chosen;
    if (chosen) return chosen;
    if (this.#choice.value === "folder") throw new MissingInput("Choose the files of a model first.");
    throw new MissingInput("Choose a model from the list, or write its name as the hub shows it, like HuggingFaceTB/SmolLM2-135M-Instruct.");
  }

  /** Looks which models were downloaded. */
  async refresh(): Promise<void> {
    this.#here.value = await modelsHere();
  }

  #watchHub(): void {
    this.#id.addEventListener("input", () => this.#follow());
    element("search-hub").addEventListener("click", () => void askHub(this.#id.value));
    for (const field of [this.#id, this.#token]) {
      field.addEventListener("change", () => this.#changed());
      // In the middle of the form Enter asks for the model's size, and not for a download and a run.
      field.addEventListener("keydown", (event) => {
        if (event.key !== "Enter") return;
        event.preventDefault();
        this.#changed();
      });
    }
  }

  #choose(id: string): void {
    this.#id.value = id;
    this.#follow();
    this.#changed();
  }

  #changed(): void {
    this.#keep();
    this.#on_change();
  }

  /** Shows which model the field names, and what the hub asks for it. */
  #follow(): void {
    this.#named.value = hubIdIn(this.#id.value) ?? this.#id.value;
    const listed = listedBy(this.#id.value);
    show("gated-note", listed?.gated ?? false);
    if (!listed?.gated) return;
    element<HTMLAnchorElement>("gated-page").href = `https://huggingface.co/${listed.id}`;
    element<HTMLDetailsElement>("private").open = true;
  }

  #keep(): void {
    const kind = this.#choice.value;
    // The files of a folder are gone with the tab.
    if (kind !== "folder") this.#kept.set({ kind, name: kind === "hub" ? this.#id.value.trim() : "" });
  }

  #restore(): void {
    const { kind, name } = this.#kept.get() ?? {};
    if (kind !== "bundled" && kind !== "hub") return;
    if (kind === "hub" && typeof name === "string") this.#id.value = name;
    for (const button of document.querySelectorAll<HTMLInputElement>('[name="model"]')) button.checked = button.value === kind;
  }
}
