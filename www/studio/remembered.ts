import type { ImportOptions } from "tabtune";

const PREFIX = "tabtune:import:";

/**
 * How each dataset was imported, kept by the browser: one that was interrupted can only go on with the
 * same choices, perhaps after the page was closed.
 */
export const remembered = {
  get(name: string): ImportOptions | undefined {
    const json = localStorage.getItem(PREFIX + name);
    return json === null ? undefined : (JSON.parse(json) as ImportOptions);
  },
  set(name: string, options: ImportOptions): void {
    localStorage.setItem(PREFIX + name, JSON.stringify(options));
  },
  forget(name: string): void {
    localStorage.removeItem(PREFIX + name);
  },
};
