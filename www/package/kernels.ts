import { failure } from "./errors.js";
import type { Flavour } from "./cpu/kernels.js";
import { Machine } from "./cpu/machine.js";

export { hintOf } from "./cpu/hint.js";
export { VERSION } from "./protocol.js";

/** Bundlers copy the files that are named like this; each is loaded only where it is used. */
const module_urls: Record<Flavour, () => URL> = {
  simd128: () => new URL("./wasm/kernels_simd128.wasm", import.meta.url),
  "relaxed-simd": () => new URL("./wasm/kernels_relaxed_simd.wasm", import.meta.url),
};

/** Opens the CPU engine's machine; see {@link Machine.open}. */
export function openMachine(workers?: number): Promise<Machine> {
  return Machine.open(
    {
      async module(flavour) {
        const url = module_urls[flavour]();
        // A module of another build than the engine's would compute something else.
        const response = await fetch(url, { cache: "no-cache" });
        if (!response.ok) throw failure("io", `${url}: HTTP ${response.status}`);
        return WebAssembly.compile(await response.arrayBuffer()).catch((thrown: unknown) => {
          const hint = "its WebAssembly has no SIMD or no threads, which Chrome has from version 91, Firefox 89 and Safari 16.4";
          throw failure("cpu-unavailable", `this browser cannot run the CPU engine: ${hint} (${String(thrown)})`);
        });
      },
      worker: () => new Worker(new URL("./kernel-worker.js", import.meta.url), { type: "module", name: "tabtune-kernels" }),
    },
    workers,
  );
}
