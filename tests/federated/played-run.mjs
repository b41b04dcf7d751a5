// Runs of the app with clients that are played, several of them on one SuperLink: each run asks only those whom its terms enrol.
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { paths } from "../../tools/lib/paths.mjs";
import { Identity, memoryIdentities } from "../../www/package/build/federated/wire/index.js";
import { layoutOf, PlayedClient } from "./played-client.mjs";
import { termsOf, until } from "./support.mjs";

/** The folder of the app. */
export const APP = join(paths.root, "federated/server");

/** A and B of modules { name: [out, in] }, in the engine's order, as a client tells its layout. */
export function layoutFor(modules, r, { freeze_a = false } = {}) {
  const [a, b] = [[], []];
  const all = Object.entries(modules).flatMap(([name, [height, width]]) => {
    const pair = [{ name: `${name}.lora_A.weight`, rows: r, cols: width }, { name: `${name}.lora_B.weight`, rows: height, cols: r }];
    a.push(pair[0]);
    b.push(pair[1]);
    return pair;
  });
  return freeze_a ? layoutOf(b, a) : layoutOf(all);
}

/** How many values learn in a layout. */
export const sizeOf = ({ rows, cols }) => rows.reduce((sum, height, index) => sum + Number(height * cols[index]), 0);

/** The modules that "all-linear" means in the bundled model: { name: [out, in] }, from the header of its file. */
export function modulesOfTiny() {
  const { header } = headerOf(readFileSync(join(paths.model, "model.safetensors")));
  const linear = Object.entries(header).filter(([name, { shape }]) => name.startsWith("model.layers.") && shape.length === 2);
  return Object.fromEntries(linear.map(([name, { shape }]) => [name.replace(/\.weight$/, ""), shape]));
}

/** A safetensors file's header, and where its data begins. */
function headerOf(bytes) {
  const end = 8 + Number(bytes.readBigUInt64LE(0));
  return { header: JSON.parse(bytes.toString("utf8", 8, end)), end };
}

/** The float32 matrices of a PEFT file, one behind another in the order of a layout. */
function valuesIn(path, { names }) {
  const bytes = readFileSync(path);
  const { header, end } = headerOf(bytes);
  const parts = names.map((name) => {
    const [from, to] = header[`base_model.model.${name}`].data_offsets;
    return bytes.subarray(end + from, end + to);
  });
  return new Float32Array(Uint8Array.from(Buffer.concat(parts)).buffer);
}

/**
 * Starts a run with these terms and clients on a SuperLink, and gives
 * - `clients`, each made with what `clients` says of it;
 * - `over`: a promise that all clients have been told that the last round is over, or have died;
 * - `hasHistory()`: whether the server has noted anything yet, and `history()`: what, of the rounds so far;
 * - `learnt(layout)`: waits for the adapter that the server writes in the end, and gives its values that learn, flat;
 * - `stop()`: ends what still waits. The run's folder goes with the SuperLink's.
 * Clients come before the run starts, so that its first round finds all of them, and ask once it is at work.
 */
export async function playedRun(link, terms, clients) {
  const folder = mkdtempSync(join(link.home, "played-"));
  const [file, out] = [join(folder, "federation.json"), join(folder, "out")];
  const identities = await Promise.all(clients.map(() => Identity.of(link.base, memoryIdentities())));
  const whole = termsOf({ min_clients: clients.length, ...terms, enrolled: identities.map(({ pem }) => pem) });
  writeFileSync(file, JSON.stringify(whole));
  const played = clients.map((more, index) => {
    return new PlayedClient({ base: link.base, terms: structuredClone(whole), number: index + 1, identity: identities[index], ...more });
  });
  await Promise.all(played.map((client) => client.join()));
  await link.run({ terms: file, out });
  const working = played.map((client) => client.takePart());
  const over = Promise.all(working);
  // Who awaits it hears of it; until then it is no unhandled failure.
  over.catch(() => {});
  return {
    clients: played,
    over,
    async learnt(layout) {
      // Written last.
      await until("the adapter", () => existsSync(join(out, "adapter_config.json")));
      return valuesIn(join(out, "adapter_model.safetensors"), layout);
    },
    hasHistory: () => existsSync(join(out, "history.json")),
    history: () => JSON.parse(readFileSync(join(out, "history.json"), "utf8")).rounds,
    async stop() {
      for (const client of played) client.over = true;
      await Promise.allSettled(working);
      // Those who died still say that they are there.
      await Promise.all(played.map(({ node }) => node?.leave()));
    },
  };
}
