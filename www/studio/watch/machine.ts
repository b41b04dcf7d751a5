import { bytes } from "../ui/format.js";
import { show, write } from "../ui/dom.js";

/** How often the tab's memory is asked for. Measuring takes the browser some work. */
const MEASURE_MILLIS = 20_000;

interface Battery extends EventTarget {
  charging: boolean;
  level: number;
}

interface Pressure {
  observe(source: string): Promise<void>;
  disconnect(): void;
}

/** What some browsers have, and the language does not know of. */
interface Known {
  getBattery?(): Promise<Battery>;
}

interface Told {
  PressureObserver?: new (heard: (records: { state: string }[]) => void) => Pressure;
}

const PRESSURE_WORDS: Record<string, string> = { fair: "the system is busy", serious: "the system is very busy", critical: "the system is as busy as it can be" };

/**
 * What a run does to the machine, as far as the browser tells: how the battery falls, how busy the system is, and what the
 * tab takes. What it takes of power no browser tells.
 */
export class Machine {
  #battery: Battery | undefined;
  /** The battery's level when the run began. */
  #level: number | undefined;
  #pressure = "";
  #memory: number | undefined;
  #observer: Pressure | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;

  /** A run begins. */
  async begin(): Promise<void> {
    this.end();
    this.#level = undefined;
    this.#timer = setInterval(() => void this.#measure(), MEASURE_MILLIS);
    const { PressureObserver } = globalThis as Told;
    this.#observer = PressureObserver && new PressureObserver((records) => this.#pressed(records.at(-1)?.state));
    // Only a page that may know is told.
    await this.#observer?.observe("cpu").catch(() => undefined);
    this.#battery ??= await (navigator as Known).getBattery?.call(navigator).catch(() => undefined);
    this.#level = this.#battery?.level;
    this.#battery?.addEventListener("levelchange", this.#tell);
    this.#battery?.addEventListener("chargingchange", this.#tell);
    this.#tell();
  }

  /** It is over. What it took of the battery stays to be read. */
  end(): void {
    clearInterval(this.#timer);
    this.#pressure = "";
    this.#tell();
    this.#observer?.disconnect();
    this.#observer = undefined;
    this.#battery?.removeEventListener("levelchange", this.#tell);
    this.#battery?.removeEventListener("chargingchange", this.#tell);
  }

  clear(): void {
    show("machine", false);
  }

  #pressed(state: string | undefined): void {
    this.#pressure = PRESSURE_WORDS[state ?? ""] ?? "";
    this.#tell();
  }

  async #measure(): Promise<void> {
    const { measureUserAgentSpecificMemory: measure } = performance as { measureUserAgentSpecificMemory?(): Promise<{ bytes: number }> };
    if (!globalThis.crossOriginIsolated || !measure) return;
    this.#memory = (await measure.call(performance).catch(() => undefined))?.bytes;
    this.#tell();
  }

  readonly #tell = (): void => {
    const notes = [batteryWords(this.#battery, this.#level), this.#pressure, this.#memory === undefined ? "" : `the tab takes ${bytes(this.#memory)}`].filter(Boolean);
    const words = notes.join(" · ");
    write("machine", words.charAt(0).toUpperCase() + words.slice(1));
    show("machine", words !== "");
  };
}

/** How the battery fares; nothing where it is charged or there is none. */
export function batteryWords(battery: Pick<Battery, "charging" | "level"> | undefined, before: number | undefined): string {
  if (!battery || battery.charging) return "";
  const percent = (level: number) => Math.round(100 * level);
  const fallen = before === undefined ? 0 : percent(before) - percent(battery.level);
  return `battery at ${percent(battery.level)} %${fallen > 0 ? `, ${fallen} % less than when it began` : ""}`;
}
