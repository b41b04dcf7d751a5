import { Trainer, type Footprint } from "tabtune";
import { element, make, show, write } from "./dom.js";
import { isCancelled, messageOf } from "./errors.js";
import { bytes } from "./format.js";
import type { Model } from "./model.js";
import type { Config } from "./settings.js";

/** Settings change with every key. */
const PAUSE_MILLIS = 500;

/** What the memory is for, in the words of the page. */
function parts({ gpu_bytes }: Footprint): [string, number][] {
  const { weights, adapter, optimizer, activations, other } = gpu_bytes;
  return [
    ["Model", weights],
    ["Adapter", adapter + optimizer],
    ["Working space", activations],
    ["Other", other],
  ];
}

/** Tells how much GPU memory a run will take, before anything is loaded. */
export class Estimate {
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running: AbortController | undefined;
  /** What the figures shown are for. */
  #shown: { model: Model; settings: string } | undefined;

  /** Counts anew a moment later, unless that is called again before. */
  later(model: Model | undefined, config: Config | undefined): void {
    this.stop();
    if (!model || !config) return show("estimate", false);
    const settings = JSON.stringify([config, model.hub]);
    if (this.#shown?.model.source === model.source && this.#shown.settings === settings) return show("estimate", true);
    this.#timer = setTimeout(() => void this.#count(model, config, settings), PAUSE_MILLIS);
  }

  /** Leaves the GPU to others. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#running?.abort();
    this.#running = undefined;
  }

  async #count(model: Model, config: Config, settings: string): Promise<void> {
    const controller = (this.#running = new AbortController());
    const { quantization, lora, train } = config;
    this.#shown = undefined;
    show("estimate", true);
    show("estimate-parts", false);
    write("estimate-sum", "Looking at the size of the model…");
    write("estimate-problem", "");
    try {
      const options = { ...model.hub, quantization, lora, train, signal: controller.signal };
      this.#show(await Trainer.estimate(model.source, options));
      this.#shown = { model, settings };
    } catch (thrown) {
      if (isCancelled(thrown)) show("estimate", false);
      else {
        write("estimate-sum", "How much memory a run takes cannot be told.");
        write("estimate-problem", messageOf(thrown));
      }
    }
  }

  #show(footprint: Footprint): void {
    const found = parts(footprint);
    write("estimate-sum", `A run takes up to ${bytes(footprint.peak_gpu_bytes)} of GPU memory.`);
    element("estimate-bar").replaceChildren(
      ...found.map(([, count], index) => {
        const part = make("span", `part-${index}`);
        part.style.flexGrow = String(count / footprint.peak_gpu_bytes);
        return part;
      }),
    );
    element("estimate-legend").replaceChildren(
      ...found.map(([name, count], index) => make("li", "", make("i", `part-${index}`), `${name} ${bytes(count)}`)),
    );
    show("estimate-parts", true);
  }
}
