import { element, show, write } from "./dom.js";

type Shape = "chat" | "other";

/** What the person chose to train, and on what. */
export interface Inputs {
  model: string | File[] | FileSystemDirectoryHandle;
  rows: Blob;
  rows_name: string;
  heldout: Blob | undefined;
  heldout_name: string;
  /** Whether rows are chats, of which only the answers should be learnt. */
  shape: Shape;
}

/** A choice that is missing, said in words for the person. */
export class MissingInput extends Error {}

type DirectoryPicker = () => Promise<FileSystemDirectoryHandle>;

const picker = (window as { showDirectoryPicker?: DirectoryPicker }).showDirectoryPicker;

/** The two upper parts of the form: model and data. */
export class InputForm {
  readonly #form = element<HTMLFormElement>("setup");
  #folder: File[] | FileSystemDirectoryHandle | undefined;
  #rows: File | undefined;
  #heldout: File | undefined;

  /** `on_model` is told when another kind of model is chosen. */
  constructor(on_model: (bundled: boolean) => void) {
    this.#form.addEventListener("change", ({ target }) => {
      const { name } = target as HTMLInputElement;
      if (name !== "model" && name !== "data") return;
      this.#showChosen(name);
      if (name === "model") on_model(this.bundledModel);
    });
    // Browsers keep a form's values over a reload.
    this.#showChosen("model");
    this.#showChosen("data");
    this.#watchFolder();
    watchFile("drop", "rows", (file) => (this.#rows = file));
    watchFile("drop-heldout", "heldout", (file) => (this.#heldout = file));
  }

  get bundledModel(): boolean {
    return this.#chosen("model") === "bundled";
  }

  /** What was chosen, with the bundled files fetched. */
  async read(): Promise<Inputs> {
    if (!this.bundledModel && !this.#folder) throw new MissingInput("Choose the folder of a model first.");
    const model = this.bundledModel ? "models/tiny/" : this.#folder!;
    if (this.#chosen("data") === "bundled") {
      const [rows, heldout] = await Promise.all([fetchBlob("data/faq.jsonl"), fetchBlob("data/faq.heldout.jsonl")]);
      return { model, rows, rows_name: "faq.jsonl", heldout, heldout_name: "faq.heldout.jsonl", shape: "chat" };
    }
    if (!this.#rows) throw new MissingInput("Choose a JSONL file with your rows first.");
    return {
      model,
      rows: this.#rows,
      rows_name: this.#rows.name,
      heldout: this.#heldout,
      heldout_name: this.#heldout?.name ?? "",
      shape: await shapeOf(this.#rows),
    };
  }

  #chosen(name: string): string {
    return String(new FormData(this.#form).get(name));
  }

  #showChosen(name: string): void {
    for (const part of this.#form.querySelectorAll<HTMLElement>(`[data-for^="${name}:"]`)) {
      part.hidden = part.dataset.for !== `${name}:${this.#chosen(name)}`;
    }
  }

  #watchFolder(): void {
    const input = element<HTMLInputElement>("folder");
    element("pick-folder").addEventListener("click", async () => {
      if (!picker) return input.click();
      try {
        this.#folder = await picker.call(window);
        write("folder-name", this.#folder.name);
      } catch (thrown) {
        // Closing the dialog without choosing is no error.
        if (!(thrown instanceof DOMException && thrown.name === "AbortError")) throw thrown;
      }
    });
    input.addEventListener("change", () => {
      this.#folder = [...(input.files ?? [])];
      write("folder-name", this.#folder[0]?.webkitRelativePath.split("/")[0] ?? "The folder is empty.");
    });
  }
}

/** A file input that also takes a drop. */
function watchFile(zone_id: string, input_id: string, chosen: (file: File) => void): void {
  const zone = element(zone_id);
  const take = (file: File | undefined) => {
    if (!file) return;
    write(`${input_id}-name`, file.name);
    chosen(file);
  };
  const input = element<HTMLInputElement>(input_id);
  input.addEventListener("change", () => take(input.files?.[0]));
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    take(event.dataTransfer?.files[0]);
  });
  show(zone_id, true);
}

/** Looks at the first row only; a row that is wrong is reported by the import. */
async function shapeOf(rows: Blob): Promise<Shape> {
  const start = await rows.slice(0, 1 << 20).text();
  try {
    return "messages" in JSON.parse(start.trimStart().split("\n", 1)[0]!) ? "chat" : "other";
  } catch {
    return "other";
  }
}

async function fetchBlob(address: string): Promise<Blob> {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${address}: the server answered ${response.status}`);
  return response.blob();
}
