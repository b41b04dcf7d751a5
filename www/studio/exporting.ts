import type { ExportFormat, SaveOptions } from "tabtune";
import { element, make, show } from "./dom.js";
import { bytes, count } from "./format.js";
import type { Job } from "./job.js";

/** A form in which a model can be taken away. */
interface Way {
  words: string;
  format: ExportFormat;
  dtype?: NonNullable<SaveOptions["dtype"]>;
  /** Bytes of a weight; none where the adapter alone is written. */
  width?: number;
}

const WAYS: readonly Way[] = [
  { words: "Ollama and llama.cpp, 8 bits", format: "gguf", dtype: "q8_0", width: 34 / 32 },
  { words: "Ollama and llama.cpp, 16 bits", format: "gguf", dtype: "f16", width: 2 },
  { words: "transformers and vLLM, a folder in 16 bits", format: "safetensors", dtype: "bf16", width: 2 },
  { words: "llama.cpp beside its base (--lora)", format: "lora-gguf" },
];

/** The menu of forms in which what was learnt can be taken to other programs. */
export class Exporting {
  readonly #menu = element<HTMLSelectElement>("export-as");

  /** `work` runs with the page's one signal of being stopped. */
  constructor(job: () => Job, work: (work: (signal: AbortSignal) => Promise<void>) => void) {
    element("export").addEventListener("click", () => {
      const { format, dtype } = WAYS[this.#menu.selectedIndex]!;
      // Browsers open their picker right after a click alone.
      const target = pickFolder();
      work(async (signal) => {
        const to = await target;
        if (to) await job().export({ format, ...(dtype && { dtype }), to }, signal);
      });
    });
  }

  /** Offers the forms for a model of so many parameters, or nothing without one. */
  offer(parameters: number | undefined): void {
    show("exporting", parameters !== undefined);
    if (parameters === undefined) return;
    const chosen = Math.max(0, this.#menu.selectedIndex);
    const size = ({ width }: Way) => (width === undefined ? "the adapter alone" : bytes(width * parameters));
    this.#menu.replaceChildren(...WAYS.map((way) => make("option", "", `${way.words} · ${size(way)}`)));
    this.#menu.selectedIndex = chosen;
  }
}

/** What was written, in words. */
export const writtenWords = (files: number): string => `Saved ${count(files, "file")}.`;

/** A folder that the person picks; undefined where none was picked, and downloads where browsers cannot ask. */
async function pickFolder(): Promise<SaveOptions["to"] | undefined> {
  const { showDirectoryPicker } = globalThis as { showDirectoryPicker?: (options: object) => Promise<FileSystemDirectoryHandle> };
  if (!showDirectoryPicker) return "download";
  try {
    return await showDirectoryPicker.call(globalThis, { mode: "readwrite" });
  } catch (thrown) {
    if (thrown instanceof DOMException && thrown.name === "AbortError") return undefined;
    throw thrown;
  }
}
