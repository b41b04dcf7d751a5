import type { Exported, ExportFormat, ProgressEvent, SaveOptions } from "tabtune";
import { stemOf } from "./adapter-files.js";
import type { Busy, Task } from "../shell/busy.js";
import { element, make, show, write } from "../ui/dom.js";
import { bytes } from "../ui/format.js";
import type { Job } from "../work/job.js";

/** A form in which a model can be taken away. */
interface Way {
  words: string;
  about: string;
  format: ExportFormat;
  dtype?: NonNullable<SaveOptions["dtype"]>;
  /** Bytes of a weight; none where the adapter alone is written. */
  width?: number;
  /** What stands last in the name of what is written. */
  ending: string;
}

const ONE_FILE = "The model with what it learnt, in one GGUF file, and a Modelfile: for Ollama, llama.cpp and LM Studio.";

const WAYS: readonly Way[] = [
  { words: "Ollama, 8 bits", about: `${ONE_FILE} Half as large as in 16 bits, and about as good.`, format: "gguf", dtype: "q8_0", width: 34 / 32, ending: "Q8_0" },
  { words: "Ollama, 16 bits", about: ONE_FILE, format: "gguf", dtype: "f16", width: 2, ending: "F16" },
  {
    words: "transformers, 16 bits",
    about: "The model with what it learnt, as a Hugging Face folder: for transformers, vLLM and other programs that read one.",
    format: "safetensors",
    dtype: "bf16",
    width: 2,
    ending: "BF16",
  },
  {
    words: "LoRA for llama.cpp",
    about: "What it learnt alone, in a small GGUF file, which llama.cpp takes with --lora beside a GGUF of the model.",
    format: "lora-gguf",
    ending: "LoRA",
  },
];

/** What the menu asks of the page. */
interface Saving {
  /** What the person calls what is open. */
  name(): Promise<string>;
  /** It was written. */
  saved(): void;
}

/** The menu of forms in which what was learnt can be taken to other programs. */
export class Exporting {
  readonly #menu = element<HTMLSelectElement>("export-as");
  /** The id of what was offered last, and in which forms. */
  #offered: string | undefined;
  #ways = WAYS;
  readonly #task: Task = {
    begin: "export",
    stop: "export-stop",
    stopping: () => write("export-state", "Stopping…"),
    ended: (how) => {
      show("export-progress", false);
      if (how !== "done") write("export-state", how === "stopped" ? "Stopped. Nothing was saved." : "Nothing was saved.");
    },
  };

  constructor(busy: Busy, job: () => Job, { name, saved }: Saving) {
    this.#menu.addEventListener("change", () => this.#chosen());
    element("export").addEventListener("click", () => {
      const way = this.#ways[this.#menu.selectedIndex]!;
      // Browsers open their picker right after a click alone.
      const picked = pickFolder();
      void busy.run(async (signal) => {
        write("export-state", "");
        const to = await picked;
        if (!to) return;
        await this.#save(job(), way, `${stemOf(await name())}-${way.ending}`, to, signal);
        saved();
      }, this.#task);
    });
  }

  /** Offers the forms of what is open, or nothing where nothing is. */
  offer({ adapter, parameters }: Job): void {
    // What was said of another one holds no more.
    if (adapter?.id !== this.#offered) write("export-state", "");
    this.#offered = adapter?.id;
    show("exporting", parameters !== undefined);
    if (parameters === undefined) return;
    // A model whose weights were trained themselves has no adapter that could be taken alone.
    this.#ways = WAYS.filter(({ format }) => format !== "lora-gguf" || !adapter?.is_model);
    const chosen = Math.min(Math.max(0, this.#menu.selectedIndex), this.#ways.length - 1);
    const size = ({ width }: Way) => (width === undefined ? "" : ` · ${bytes(width * parameters)}`);
    this.#menu.replaceChildren(...this.#ways.map((way) => make("option", "", way.words + size(way))));
    this.#menu.selectedIndex = chosen;
    this.#chosen();
  }

  #chosen(): void {
    write("export-about", this.#ways[this.#menu.selectedIndex]!.about);
  }

  async #save(job: Job, { format, dtype }: Way, name: string, to: Target, signal: AbortSignal): Promise<void> {
    const bar = element<HTMLProgressElement>("export-progress");
    bar.value = 0;
    show("export-progress", true);
    write("export-state", "Saving…");
    const progress_callback = ({ progress = 0 }: ProgressEvent) => (bar.value = progress);
    const file = format === "safetensors" ? undefined : `${name}.gguf`;
    const options = { format, ...(dtype && { dtype }), ...(file && { file }), signal, progress_callback };
    if (to === "download") return tell(await job.export({ ...options, to }), "among your downloads");
    const folder = await newFolder(to, name);
    try {
      tell(await job.export({ ...options, to: folder }), `in the folder “${folder.name}”`);
    } catch (thrown) {
      await to.removeEntry(folder.name, { recursive: true }).catch(() => undefined);
      throw thrown;
    }
  }
}

/** Says what was written, and where it is. */
function tell({ files, notices }: Exported, place: string): void {
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
  const names = files.map(({ name }) => name).join(", ");
  write("export-state", [`Saved ${bytes(total)} ${place}: ${names}.`, ...notices].join(" "));
}

/** Where an export goes: into a folder that the person picked, or to the browser's downloads. */
type Target = FileSystemDirectoryHandle | "download";

/** A folder that the person picks; undefined where none was picked, and downloads where browsers cannot ask. */
async function pickFolder(): Promise<Target | undefined> {
  const { showDirectoryPicker } = globalThis as { showDirectoryPicker?: (options: object) => Promise<FileSystemDirectoryHandle> };
  if (!showDirectoryPicker) return "download";
  try {
    return await showDirectoryPicker.call(globalThis, { mode: "readwrite" });
  } catch (thrown) {
    if (thrown instanceof DOMException && thrown.name === "AbortError") return undefined;
    throw thrown;
  }
}

/** A folder that was not there before, so that nothing of the person's is written over: the model itself may lie beside it. */
async function newFolder(parent: FileSystemDirectoryHandle, name: string): Promise<FileSystemDirectoryHandle> {
  for (let number = 1; ; number++) {
    const free = number === 1 ? name : `${name}-${number}`;
    try {
      await parent.getDirectoryHandle(free);
    } catch (thrown) {
      const reason = thrown instanceof DOMException ? thrown.name : "";
      if (reason === "NotFoundError") return parent.getDirectoryHandle(free, { create: true });
      // A file may have that name too.
      if (reason !== "TypeMismatchError") throw thrown;
    }
  }
}
