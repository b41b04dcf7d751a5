// The page's modules, for tests without a browser.
import { join } from "node:path";
import { rolldown } from "rolldown";
import { paths } from "../../tools/lib/paths.mjs";

const packaged = (name) => JSON.stringify(join(paths.root, "www/package", name));

/** The package as the page's modules see it here: its errors, its models, and what a test has of the rest. */
const TABTUNE = `
  export { TabtuneError } from ${packaged("errors.ts")};
  export { exportModel } from ${packaged("hub/export.ts")};
  export { importModel } from ${packaged("hub/import.ts")};
  export { cachedModels, forgetModel } from ${packaged("hub/models.ts")};
  export const { Dataset, Trainer } = globalThis.played ?? {};
`;

/** What people exchange needs no engine, and is as it is. */
const EXCHANGE = `export * from ${packaged("exchange/index.ts")};`;

const bundles = new Map();

/** The text of modules of the page, with all that they import, and of the errors that they know. */
async function bundled(names) {
  const all = ['export { TabtuneError } from "tabtune";', ...names.map((name) => `export * from ${JSON.stringify(join(paths.root, "www/studio", name))};`)].join("\n");
  const made = { "played:all": all, tabtune: TABTUNE, "tabtune/exchange": EXCHANGE };
  const plugin = { name: "played", resolveId: (id) => (id in made ? id : null), load: (id) => made[id] ?? null };
  const bundle = await rolldown({ input: "played:all", platform: "node", plugins: [plugin] });
  const { output } = await bundle.generate({ format: "esm", codeSplitting: false });
  return output[0].code;
}

/** Modules of the page. Those that are asked for together share what they import. */
export async function studio(...names) {
  const key = names.join();
  if (!bundles.has(key)) bundles.set(key, await bundled(names));
  // Each test plays a package of its own, which a module takes over once.
  return import(`data:text/javascript,${encodeURIComponent(bundles.get(key))}//${Math.random()}`);
}
