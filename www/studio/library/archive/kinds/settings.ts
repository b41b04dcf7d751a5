import { bytesOf } from "../../others.js";
import type { ToPack } from "../pack.js";
import { settingsIn } from "../records.js";
import { text } from "./files.js";
import type { Kind } from "./kind.js";

const SETTINGS = "settings.json";

/** Settings that are worth taking along; undefined where there are none. */
export function settingsToPack(settings: Record<string, unknown>): ToPack | undefined {
  if (Object.keys(settings).length === 0) return undefined;
  const files = async function* () {
    yield text(SETTINGS, settings);
  };
  return { kind: "settings", id: "settings", name: "Settings", date: null, mark: "", bytes: bytesOf(settings), files };
}

export const settings: Kind = {
  // They are looked at one by one as they are brought: what was set here stays.
  sameAs: () => undefined,
  taken: () => ({}),
  bring: async ({ item }, { archive, stores }) => {
    for (const [name, value] of settingsIn(await archive.needed(item, SETTINGS))) {
      if (stores.settings.get(name) === undefined) stores.settings.set(name, value);
    }
  },
};
