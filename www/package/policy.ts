import { failure } from "./errors.js";
import { Heat } from "./heat.js";
import type { RunPolicy } from "./types.js";

/** What applies where the caller says nothing. */
export const DEFAULT_POLICY: RunPolicy = {
  require_mains: false,
  min_battery: 0.2,
  allow_metered: false,
  max_pressure: "serious",
  max_slowdown: 2,
  rest_seconds: 30,
  duty_cycle: 1,
};

/** The caller's policy over the default one; an unknown or wrong entry is `bad-option` and named. */
export function policyOf(given: Partial<RunPolicy> | undefined): RunPolicy {
  if (given !== undefined && (typeof given !== "object" || given === null || Array.isArray(given))) {
    throw failure("bad-option", "policy must be an object, or false to leave it to the caller");
  }
  const policy: RunPolicy = { ...DEFAULT_POLICY, ...given };
  for (const [name, value] of Object.entries(policy)) {
    if (!Object.hasOwn(DEFAULT_POLICY, name)) throw failure("bad-option", `policy.${name} is unknown`);
    if (typeof value !== typeof DEFAULT_POLICY[name as keyof RunPolicy]) {
      throw failure("bad-option", `policy.${name} is ${JSON.stringify(value)}`);
    }
  }
  if (!PRESSURES.includes(policy.max_pressure)) {
    throw failure("bad-option", `policy.max_pressure is "${policy.max_pressure}", but must be one of ${PRESSURES.join(", ")}`);
  }
  if (!(policy.min_battery >= 0 && policy.min_battery <= 1)) throw failure("bad-option", "policy.min_battery must be between 0 and 1");
  if (!(policy.max_slowdown > 1)) throw failure("bad-option", "policy.max_slowdown must be above 1");
  if (!(policy.rest_seconds > 0 && policy.rest_seconds <= 86400)) {
    throw failure("bad-option", "policy.rest_seconds must be above 0 and at most 86400");
  }
  if (!(policy.duty_cycle > 0 && policy.duty_cycle <= 1)) throw failure("bad-option", "policy.duty_cycle must be above 0 and at most 1");
  return policy;
}

/** The Compute Pressure API's states, from cool to hot. */
export const PRESSURES: readonly RunPolicy["max_pressure"][] = ["nominal", "fair", "serious", "critical"];

/** Why a run has to rest, in the words of the policy's entry and of people. */
export interface Objection {
  reason: "battery" | "pressure" | "heat";
  detail: string;
}

/** Parts of the browser's interfaces that TypeScript does not know. */
interface BatteryManager extends EventTarget {
  charging: boolean;
  level: number;
}
interface NetworkInformation extends EventTarget {
  type?: string;
  saveData?: boolean;
}
interface PressureObserverClass {
  new (callback: (records: { state: RunPolicy["max_pressure"] }[]) => void): { observe(source: string): Promise<void>; disconnect(): void };
}
const scope = globalThis as {
  navigator?: { getBattery?(): Promise<BatteryManager>; connection?: NetworkInformation };
  PressureObserver?: PressureObserverClass;
};

/** Which of the signals that a policy looks at this browser gives. */
export type Signals = Record<"battery" | "network" | "pressure", boolean>;

/** Looks at power, pressure and speed for as long as a run lasts. */
export class Guard {
  readonly #policy: RunPolicy;
  #battery: BatteryManager | undefined;
  #pressure: RunPolicy["max_pressure"] | undefined;
  #observer: { disconnect(): void } | undefined;
  readonly #heat: Heat;

  private constructor(policy: RunPolicy) {
    this.#policy = policy;
    this.#heat = new Heat(policy.max_slowdown);
  }

  /** Where an interface is missing or refused, its rule does not apply; {@link signals} tells. */
  static async start(policy: RunPolicy, ignores_pressure = false): Promise<Guard> {
    const guard = new Guard(policy);
    guard.#battery = await scope.navigator?.getBattery?.().catch(() => undefined);
    if (scope.PressureObserver && !ignores_pressure) {
      const observer = new scope.PressureObserver((records) => (guard.#pressure = records.at(-1)?.state));
      guard.#observer = await observer.observe("cpu").then(
        () => observer,
        () => undefined,
      );
    }
    return guard;
  }

  get signals(): Signals {
    return {
      battery: this.#battery !== undefined,
      network: scope.navigator?.connection !== undefined,
      pressure: this.#observer !== undefined,
    };
  }

  /** Takes note of a step's time. Heat shows in it where no interface tells of heat. */
  stepped(millis: number): void {
    this.#heat.stepped(millis);
  }

  /** Takes note that the machine has had its rest. */
  rested(): void {
    this.#heat.rested();
  }

  /** Why the run should rest now, if it should. */
  objection(): Objection | undefined {
    const { require_mains, min_battery, max_pressure } = this.#policy;
    const battery = this.#battery;
    if (battery && !battery.charging) {
      const level = `${Math.round(battery.level * 100)} %`;
      if (require_mains) return { reason: "battery", detail: `the device runs on its battery (${level})` };
      if (battery.level < min_battery) {
        return { reason: "battery", detail: `the battery is at ${level}, and training stops below ${Math.round(min_battery * 100)} %` };
      }
    }
    if (this.#pressure && PRESSURES.indexOf(this.#pressure) >= PRESSURES.indexOf(max_pressure)) {
      return { reason: "pressure", detail: `the system is under ${this.#pressure} pressure` };
    }
    const slowdown = this.#heat.slowdown();
    if (slowdown !== undefined) return { reason: "heat", detail: `steps take ${slowdown.toFixed(1)} times as long as at best` };
    return undefined;
  }

  end(): void {
    this.#observer?.disconnect();
  }
}

/** Why a download should wait, if the browser tells: the connection is metered, or saves data. */
export function meteredConnection(): string | undefined {
  const connection = scope.navigator?.connection;
  if (connection?.saveData) return "the browser is asked to save data";
  if (connection?.type === "cellular") return "the connection is a mobile one";
  return undefined;
}

/** Resolves when the connection changes. */
export function connectionChange(): Promise<void> {
  return new Promise((resolve) => scope.navigator?.connection?.addEventListener("change", () => resolve(), { once: true }));
}
