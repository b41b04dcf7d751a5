import type { FolderSource, HubOptions } from "tabtune";
import { Choice } from "../ui/choice.js";
import { element, write } from "../ui/dom.js";
import { watchFolder, type Directory } from "../data/folder.js";
import { ModelList } from "./listed.js";
import { MissingInput } from "../ui/missing.js";
import { hubIdIn, type ModelName } from "./model-name.js";

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

/** The part of the form that says which model. */
export class ModelForm {
  readonly #choice: Choice;
  readonly #id = element<HTMLInputElement>("hub-id");
  readonly #token = element<HTMLInputElement>("hub-token");
  readonly #list: ModelList;
  #folder: { source: Directory | File; name: string } | undefined;

  /** `on_kind` is told when another kind of model is chosen, `on_change` when the model is another one. */
  constructor(on_kind: () => void, on_change: () => void) {
    this.#choice = new Choice("model", on_kind);
    const take = (source: Directory | File, name: string) => {
      this.#folder = { source, name };
      write("folder-name", name);
      on_change();
    };
    watchFolder(element("pick-folder"), element<HTMLInputElement>("folder"), take);
    watchGguf(take);
    this.#list = new ModelList(this.#id, on_change);
    for (const field of [this.#id, this.#token]) {
      field.addEventListener("change", on_change);
      // In the middle of the form Enter asks for the model's size, and not for a download and a run.
      field.addEventListener("keydown", (event) => {
        if (event.key !== "Enter") return;
        event.preventDefault();
        on_change();
      });
    }
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
      this.#list.follow();
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
}
