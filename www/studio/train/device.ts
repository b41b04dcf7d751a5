import { webgpuProblem, type AdapterInfo, type DeviceName } from "tabtune";
import { Choice } from "../ui/choice.js";
import { show, write } from "../ui/dom.js";
import { stored } from "../ui/stored.js";
import { computesOnProcessor } from "./room.js";

const KEY = "tabtune:device";

/** The part of WebGPU's entry point that is looked at here. */
interface Gpu {
  requestAdapter(): Promise<{ info?: { isFallbackAdapter?: boolean } } | null>;
}

/** What of the browser decides over the device. */
interface Found {
  /** Why there is no GPU, for people to read. */
  problem?: string;
  /** Whether the processor plays the GPU. */
  is_played: boolean;
}

/** The part of the form that says what computes. What was chosen is kept for the next visit. */
export class DeviceForm {
  readonly #choice: Choice;
  readonly #found = look();
  /** What has computed last, if that is what would compute now. */
  #adapter: AdapterInfo | undefined;

  constructor(on_change: () => void) {
    const kept = stored.get<string>(KEY);
    // The rest of the page is not there yet to hear of a change.
    for (const button of document.querySelectorAll<HTMLInputElement>('[name="device"]')) button.checked ||= button.value === kept;
    const choice = (this.#choice = new Choice("device", () => {
      stored.set(KEY, choice.value);
      this.#adapter = undefined;
      void this.#tell();
      on_change();
    }));
    void this.#tell();
  }

  get value(): DeviceName {
    return this.#choice.value as DeviceName;
  }

  /** Whose memory a run takes. */
  async memory(): Promise<string> {
    return (await this.#isProcessor()) ? "memory" : "GPU memory";
  }

  /** What has computed last, if that is what would compute now. */
  get computes(): AdapterInfo | undefined {
    return this.#adapter;
  }

  /** Says what it is that computes. */
  show(adapter: AdapterInfo): void {
    this.#adapter = adapter;
    void this.#tell();
  }

  /** Whether the processor will compute. */
  async #isProcessor(): Promise<boolean> {
    if (this.value !== "auto") return this.value === "cpu";
    const { problem, is_played } = await this.#found;
    return problem !== undefined || is_played;
  }

  async #tell(): Promise<void> {
    const { problem } = await this.#found;
    const is_processor = await this.#isProcessor();
    computesOnProcessor(is_processor);
    const adapter = this.#adapter;
    const words = adapter ? computedBy(adapter) : this.#foreseen(problem, is_processor);
    write("device-found", words);
    show("device-note", words !== "");
    const misses_gpu = this.value === "auto" ? is_processor : this.value === "webgpu" && problem !== undefined;
    // What computes knows how this very browser gets a GPU, and what the page lacks.
    write("device-hint", adapter?.hint ?? "");
    show("device-hint", adapter?.hint !== undefined);
    show("device-ways", adapter === undefined);
    show("device-help", adapter ? adapter.hint !== undefined : misses_gpu);
  }

  /** The same before anything is loaded. */
  #foreseen(problem: string | undefined, is_processor: boolean): string {
    if (this.value === "webgpu") return problem === undefined ? "" : `${problem} Choose “Automatic” or “Processor”.`;
    if (!is_processor) return "";
    return ["Runs on the processor.", ...(this.value === "cpu" ? [] : [problem ?? PLAYED])].join(" ");
  }
}

const PLAYED = "The GPU that this browser offers is none: the processor would only imitate one, which is slower.";

/** What computes. */
function computedBy({ backend, name, is_software }: AdapterInfo): string {
  if (backend === "cpu") return `Computed by ${name}.`;
  return `Computed by ${name || "the GPU"}${is_software ? ", which the processor plays" : ""}.`;
}

async function look(): Promise<Found> {
  const problem = await webgpuProblem();
  if (problem !== undefined) return { problem, is_played: false };
  const adapter = await (navigator as { gpu?: Gpu }).gpu?.requestAdapter().catch(() => null);
  return { is_played: adapter?.info?.isFallbackAdapter ?? false };
}
