import type { RunPolicy } from "tabtune";
import { element, write } from "../ui/dom.js";

/** The part of the settings that says when a run rests. */
export class RestForm {
  /** What the fields say; false never rests. They were checked with the rest of the form. */
  read(): Partial<RunPolicy> | false {
    if (field("never").checked) return false;
    const max_pressure = element<HTMLSelectElement>("max-pressure").value as RunPolicy["max_pressure"] | "";
    return {
      require_mains: field("require_mains").checked,
      min_battery: field("min_battery_percent").valueAsNumber / 100,
      allow_metered: field("allow_metered").checked,
      // Only what was chosen holds where the processor plays the GPU.
      ...(max_pressure && { max_pressure }),
      max_slowdown: field("max_slowdown").valueAsNumber,
    };
  }

  /** Says which of the signals this browser gives, in the words of the run's first event. */
  tell(detail: string): void {
    write("rest-signals", `A run ${detail}.`);
  }
}

function field(name: string): HTMLInputElement {
  return element("rest").querySelector<HTMLInputElement>(`[name="${name}"]`)!;
}
