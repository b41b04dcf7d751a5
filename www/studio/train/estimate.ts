import { Trainer, type Footprint, type LoraConfig } from "tabtune";
import type { DeviceForm } from "./device.js";
import { element, make, show, write } from "../ui/dom.js";
import { codeOf, isCancelled, messageOf } from "../shell/errors.js";
import { bytes } from "../ui/format.js";
import { namedIn, type Refused } from "./finer.js";
import type { Model } from "./model.js";
import { trainsAll, type Config } from "./settings.js";
import { WaysPicture } from "./ways.js";

/** Settings change with every key. */
const PAUSE_MILLIS = 500;

/** What the person has set so far. */
export interface Wish {
  model: Model | undefined;
  config: Config | undefined;
  /** The adapter as the form has it, whatever is trained. */
  lora: LoraConfig;
  /** Tokens of the longest row, which need no more room than that; undefined where it is not known how long they are. */
  longest: number | undefined;
}

/** What the memory is for, in the words of the page. */
function parts({ gpu_bytes }: Footprint, config: Config): [string, number][] {
  const { weights, adapter, optimizer, activations, other } = gpu_bytes;
  return [
    ["Model", weights],
    [trainsAll(config) ? "Weights that learn" : "Adapter", adapter + optimizer],
    ["Working space", activations],
    ["Other", other],
  ];
}

/** What was found out of a run. */
export interface Told {
  model: Model;
  config: Config;
  footprint: Footprint;
  /** Values of the model; undefined where that is not known, or not yet. */
  parameters: number | undefined;
}

/** Who hears of it. */
export interface Hearing {
  /** What is shown; undefined while nothing is. */
  told(told: Told | undefined): void;
  /** What the package refused of the settings, where it names an option; undefined once it refuses nothing. */
  refused(refused: Refused | undefined): void;
}

/** What figures are for, and whether the ways were compared for it too, or could not be. */
interface Shown {
  model: Model;
  settings: string;
  is_whole: boolean;
}

/** Tells how much memory a run will take, before anything is loaded, and what one takes that was prepared. */
export class Estimate {
  readonly #device: DeviceForm;
  readonly #on_told: Hearing["told"];
  readonly #on_refused: Hearing["refused"];
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #ways = new WaysPicture();
  #running: AbortController | undefined;
  #shown: Shown | undefined;

  constructor(device: DeviceForm, { told, refused }: Hearing) {
    this.#device = device;
    this.#on_told = told;
    this.#on_refused = refused;
  }

  /** Counts anew a moment later, unless that is called again before. */
  later({ model, config, lora, longest }: Wish): void {
    const settings = JSON.stringify([config, model?.hub, this.#device.value, longest]);
    const is_same = this.#shown !== undefined && this.#shown.model.source === model?.source && this.#shown.settings === settings;
    // What is being compared for the same is left to its end.
    if (is_same && (this.#shown!.is_whole || this.#running)) return show("estimate", true);
    this.#cancel();
    if (!model || !config) return this.#hide();
    // Figures of other settings are not left standing.
    this.#shown = undefined;
    this.#on_told(undefined);
    this.#ways.hideUnlessOf(model);
    this.#tell("Looking at how much memory a run takes…");
    this.#timer = setTimeout(() => void this.#count({ model, config, lora, longest }, settings), PAUSE_MILLIS);
  }

  /** Leaves the device to others. */
  stop(): void {
    this.#cancel();
    if (!this.#shown) show("estimate", false);
  }

  /** What the run takes that is about to begin. */
  async show(footprint: Footprint, config: Config): Promise<void> {
    this.#shown = undefined;
    this.#ways.hide();
    this.#draw(footprint, config, `This run takes ${bytes(footprint.peak_gpu_bytes)} of ${await this.#device.memory()}.`);
  }

  async #count({ model, config, lora, longest }: Wish & { model: Model; config: Config }, settings: string): Promise<void> {
    const { signal } = (this.#running = new AbortController());
    const { train } = config;
    // Rows that are packed fill up their sequences.
    const is_known = longest !== undefined && !train.packing && longest <= train.max_length!;
    const asked = is_known ? { ...config, train: { ...train, max_length: longest } } : config;
    const device = this.#device.value;
    try {
      const footprint = await Trainer.estimate(model.source, { ...model.hub, ...asked, device, signal });
      const shown: Shown = (this.#shown = { model, settings, is_whole: false });
      this.#on_refused(undefined);
      const peak = footprint.peak_gpu_bytes;
      const rows = is_known ? "with these rows" : "with the longest rows";
      this.#draw(footprint, config, `A run takes up to ${bytes(peak)} of ${await this.#device.memory()} ${rows}.`);
      const told = { model, config, footprint };
      this.#on_told({ ...told, parameters: undefined });
      const parameters = await this.#ways.draw({ model, config: asked, lora, device, peak }, signal);
      shown.is_whole = true;
      this.#on_told({ ...told, parameters });
    } catch (thrown) {
      if (signal.aborted || isCancelled(thrown)) return;
      // Without the picture the figure still stands.
      if (this.#shown) {
        this.#shown.is_whole = true;
        return this.#ways.hide();
      }
      this.#refuse(thrown);
      this.#ways.hide();
    }
  }

  /** Says why there is no figure. An option that is at fault is told by what the page calls it. */
  #refuse(thrown: unknown): void {
    const message = messageOf(thrown);
    const named = codeOf(thrown) === "bad-option" ? namedIn(message) : undefined;
    this.#on_refused(named && { key: named.key, message });
    if (named) this.#tell(`These settings make no run: look at “${named.words}”.`, message);
    else this.#tell("How much memory a run takes cannot be told.", message);
  }

  #cancel(): void {
    clearTimeout(this.#timer);
    this.#running?.abort();
    this.#running = undefined;
  }

  #hide(): void {
    this.#shown = undefined;
    this.#on_told(undefined);
    this.#on_refused(undefined);
    show("estimate", false);
    this.#ways.hide();
  }

  #tell(sum: string, problem = ""): void {
    write("estimate-sum", sum);
    write("estimate-problem", problem);
    show("estimate-parts", false);
    show("estimate", true);
  }

  #draw(footprint: Footprint, config: Config, sum: string): void {
    const found = parts(footprint, config);
    this.#tell(sum);
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
