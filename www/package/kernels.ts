import { failure, unanswered } from "./errors.js";
import type { Flavour } from "./cpu/kernels.js";
import type { Machine } from "./cpu/machine.js";
import type { WorkerLike } from "./cpu/team.js";
import { VERSION } from "./protocol.js";

/** Bundlers copy the files that are named like this; each is loaded only where it is used. */
const machine_url = () => new URL("./machine.js", import.meta.url);
const module_urls: Record<Flavour, () => URL> = {
  simd128: () => new URL("./wasm/kernels_simd128.wasm", import.meta.url),
  "relaxed-simd": () => new URL("./wasm/kernels_relaxed_simd.wasm", import.meta.url),
};

/** Loads what the processor computes with. Bundlers must not see an import: Vite 7 refuses workers of several parts. */
async function loaded(): Promise<typeof import("./machine.js")> {
  const url = machine_url().href;
  const machine: typeof import("./machine.js") = await import(/* webpackIgnore: true */ /* @vite-ignore */ url).catch((thrown: unknown) => {
    throw failure("io", `${url} could not be loaded: ${unanswered(thrown)}`);
  });
  if (machine.VERSION !== VERSION) {
    throw failure("bad-state", `the engine is of tabtune ${VERSION} but its kernels of ${machine.VERSION}; reload the page`);
  }
  return machine;
}

/** A module of another build than the engine's would compute something else. */
async function module(flavour: Flavour): Promise<WebAssembly.Module> {
  const url = module_urls[flavour]();
  const response = await fetch(url, { cache: "no-cache" });
  if (!response.ok) throw failure("io", `${url}: HTTP ${response.status}`);
  return WebAssembly.compile(await response.arrayBuffer()).catch((thrown: unknown) => {
    const hint = "its WebAssembly has no SIMD or no threads, which Chrome has from version 91, Firefox 89 and Safari 16.4";
    throw failure("cpu-unavailable", `this browser cannot run the CPU engine: ${hint} (${String(thrown)})`);
  });
}

/** What makes the CPU engine's machine, with workers that `worker` makes or on this thread. */
export type MachineOpener = (worker: (() => WorkerLike) | undefined, workers?: number) => Promise<Machine>;

/** The machine, ready to compute; see {@link Machine.open}. */
export const openMachine: MachineOpener = async (worker, workers) => (await loaded()).Machine.open({ module, worker }, workers);

/** The machine that tells what it takes and computes nothing; see {@link Machine.planned}. */
export const planMachine: MachineOpener = async (worker, workers) => (await loaded()).Machine.planned({ module, worker }, workers);

/** What people are told where the processor computes; see `hintOf` in `cpu/hint.ts`. */
export async function hint(problem: string | undefined | null): Promise<string | undefined> {
  return (await loaded()).hintOf(problem);
}
