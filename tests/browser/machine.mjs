// Kernels of the CPU engine on a page, without the engine.
import { readFileSync } from "node:fs";
import { paths } from "../../tools/lib/paths.mjs";
import { serve } from "../../tools/lib/server.mjs";
import { KERNELS } from "../package/kernels.mjs";

/** Serves an empty page that has the package's modules, isolated or not. */
export function servePage(isolated) {
  const page = new TextEncoder().encode("<!doctype html><title>kernels</title>");
  const lists = readFileSync(new URL("../package/lists.mjs", import.meta.url));
  return serve({ "/": paths.modules, "/index.html": page, "/lists.js": lists }, { isolated });
}

/** The kernels that {@link runKernels} runs, by their index. */
export const JOB = { bias: KERNELS.bias, copy: KERNELS.copy, clear: KERNELS.clear };

/**
 * Runs in the page: opens a machine for each number of workers, and runs the same lists on all. Tells what each is,
 * the sum of the bits it came to, the µs that a call of few values takes, and how often others had their turn meanwhile.
 */
export async function runKernels({ kernels, workers }) {
  const [{ openMachine }, { newKernelWorker }] = await Promise.all([import("/kernels.js"), import("/kernel-workers.js")]);
  const { listOf } = await import("/lists.js");
  const told = [];
  for (const wanted of workers) {
    const machine = await openMachine(newKernelWorker, wanted ?? undefined);
    const [rows, cols] = [512, 1000];
    const bytes = 4 * rows * cols;
    const [y, copy, bias] = [bytes, bytes, 4 * cols].map((size) => machine.allocate(size));
    const adds = Float32Array.from({ length: cols }, (_, col) => Math.sin(col));
    machine.write(bias, new Uint8Array(adds.buffer));
    const add = [kernels.bias, [rows, cols, 0, cols], [[bias, 4 * cols], [y, bytes]]];
    const list = listOf(machine, [...Array(50).fill(add), [kernels.copy, [], [[y, bytes], [copy, bytes]]]]);
    machine.start(list.address, list.count);
    const read = await machine.read(copy, bytes);
    const bits = new Uint32Array(read.buffer).reduce((sum, word) => (Math.imul(sum, 31) + word) | 0, 0);

    /** The milliseconds that a list takes: the best of so many rounds. */
    const timed = async (list, rounds) => {
      let best = Infinity;
      for (let round = 0; round < rounds; round++) {
        const began = performance.now();
        machine.start(list.address, list.count);
        await machine.idle();
        best = Math.min(best, performance.now() - began);
      }
      return best;
    };

    // Of two tasks, so that each ends at the barrier.
    const small = [kernels.bias, [64, 8, 0, 8], [[bias, 32], [y, 2048]]];
    const many = listOf(machine, Array(1000).fill(small));
    // A thousand calls take so many milliseconds, so one takes so many µs.
    const call_micros = await timed(many, 20);

    const large = machine.allocate(32 << 20);
    const clear = [kernels.clear, [], [[large, 32 << 20]]];
    const ten = await timed(listOf(machine, Array(10).fill(clear)), 3);
    // It takes a quarter of a second on any machine.
    const long = listOf(machine, Array(10 * Math.ceil(250 / ten)).fill(clear));
    let turns = 0;
    const timer = setInterval(() => (turns += 1), 0);
    machine.start(long.address, long.count);
    await machine.idle();
    clearInterval(timer);

    const call = machine.allocate(16);
    machine.write(call, new Uint8Array(Uint32Array.of(1e6, 0, 0, 0).buffer));
    machine.start(call, 1);
    const lost = await machine.idle().then(() => undefined, ({ code }) => code);
    told.push({ workers: machine.workers, flavour: machine.flavour, bits, call_micros, turns, lost });
  }
  return { told, cores: navigator.hardwareConcurrency, isolated: globalThis.crossOriginIsolated };
}
