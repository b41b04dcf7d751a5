import type { ImportOptions } from "tabtune";
import { stored } from "./stored.js";

const PREFIX = "tabtune:import:";

/**
 * How each dataset was imported, kept by the browser: one that was interrupted can only go on with the
 * same choices, perhaps after the page was closed.
 */
export const remembered = {
  get: (name: string) => stored.get<ImportOptions>(PREFIX + name),
  set: (name: string, options: ImportOptions) => void stored.set(PREFIX + name, options),
  forget: (name: string) => stored.forget(PREFIX + name),
  rename(name: string, to: string): void {
    const options = remembered.get(name);
    if (options) remembered.set(to, options);
    remembered.forget(name);
  },
};
