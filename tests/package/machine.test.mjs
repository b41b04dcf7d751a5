// The machine of the CPU engine: its memory, its order, and its workers, which are threads of Node's here.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { Heap } from "../../www/package/build/cpu/heap.js";
import { bestFlavour } from "../../www/package/build/cpu/kernels.js";
import { Machine } from "../../www/package/build/cpu/machine.js";
import { KERNELS } from "./kernels.mjs";
import { listOf } from "./lists.mjs";
import { PlayedKernelWorker } from "./played-kernel-worker.mjs";

const parts = {
  module: async (flavour) => {
    const name = `kernels_${flavour.replace("-", "_")}.wasm`;
    return WebAssembly.compile(await readFile(new URL(`../../www/package/build/wasm/${name}`, import.meta.url)));
  },
  worker: () => new PlayedKernelWorker(),
};

/** Opens a machine with so many workers, or on this thread for 0. */
async function open(t, workers) {
  globalThis.crossOriginIsolated = workers > 0;
  const machine = await Machine.open(parts, workers);
  t.after(() => machine.close());
  return machine;
}

const floats = (bytes) => new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4);
const bytesOf = (array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

test("a heap hands out what is free, and grows by what is missing", () => {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 4, shared: true });
  const heap = new Heap(memory, 1000);
  const addresses = [100, 64, 1, 0].map((bytes) => heap.allocate(bytes));
  assert.deepEqual(addresses, [1024, 1152, 1216, 1280].map((address) => ({ address, used: 0 })));

  heap.free(1152, 64);
  heap.free(1280, 0);
  assert.deepEqual(heap.allocate(65), { address: 1280, used: 64 }, "the hole is too small");
  assert.deepEqual(heap.allocate(3), { address: 1152, used: 64 }, "what fits best");
  heap.free(1024, 100);
  heap.free(1216, 1);
  heap.free(1152, 3);
  assert.deepEqual(heap.allocate(256), { address: 1024, used: 256 }, "what touches is one again");

  assert.equal(memory.buffer.byteLength, 65536);
  const large = heap.allocate(65536);
  assert.equal(memory.buffer.byteLength, 2 * 65536, "it grows by what is missing");
  heap.free(large.address, 65536);
  assert.throws(() => heap.allocate(4 * 65536), { code: "out-of-memory", message: /1 MiB/ });
  assert.equal(heap.allocate(2 * 65536).address, large.address, "a refusal changes nothing");
});

for (const workers of [0, 1, 2, 3]) {
  test(`what is asked for is done in order, ${workers || "without"} workers`, async (t) => {
    const machine = await open(t, workers);
    assert.equal(machine.workers, workers || 1);
    assert.equal(machine.flavour, await bestFlavour());
    const [rows, cols] = [200, 500];
    const [y, bias, other] = [rows * cols, cols, rows * cols].map((length) => machine.allocate(4 * length));
    const list = listOf(machine, [
      [KERNELS.bias, [rows, cols, 0, cols], [[bias, 4 * cols], [y, 4 * rows * cols]]],
      [KERNELS.copy, [], [[y, 4 * rows * cols], [other, 4 * rows * cols]]],
    ]);
    const steps = 100;
    const adds = new Float32Array(cols);
    for (let step = 1; step <= steps; step++) {
      adds.fill(step);
      machine.write(bias, bytesOf(adds));
      machine.start(list.address, list.count);
    }
    const sum = (steps * (steps + 1)) / 2;
    assert.ok(floats(await machine.read(other, 4 * rows * cols)).every((value) => value === sum));

    // Many lists in a row, more than the ring holds.
    const before = floats(await machine.read(y, 4))[0];
    for (let step = 0; step < 300; step++) machine.start(list.address, list.count);
    await machine.idle();
    assert.equal(floats(await machine.read(y, 4))[0], before + 300 * steps);

    // What is freed may still be in use, and is zero when it is handed out again.
    machine.start(list.address, list.count);
    machine.free(other, 4 * rows * cols);
    const again = machine.allocate(4 * rows * cols);
    assert.equal(again, other);
    assert.ok(floats(await machine.read(again, 4 * rows * cols)).every((value) => value === 0));
  });

  test(`a kernel that traps ends the machine and hangs nobody, ${workers || "without"} workers`, async (t) => {
    const machine = await open(t, workers);
    const call = machine.allocate(16);
    machine.write(call, bytesOf(new Uint32Array([1e6, 0, 0, 0])));
    machine.start(call, 1);
    const lost = { code: "device-lost", message: /a worker of the CPU engine has stopped: .*unreachable/ };
    await assert.rejects(machine.read(call, 16), lost);
    await assert.rejects(machine.idle(), lost);
    machine.write(call, new Uint8Array(16));
    machine.start(call, 1);
  });
}

test("a machine that is only laid out tells what one that computes takes, and starts no worker", async (t) => {
  const opened = await open(t, 3);
  const planned = await Machine.planned({ ...parts, worker: () => assert.fail("a worker was made") }, 3);
  t.after(() => planned.close());
  for (const name of ["workers", "flavour", "own_bytes", "bytes"]) assert.equal(planned[name], opened[name], name);
});

for (const busy of [false, true]) {
  test(`workers of a machine that is closed end, ${busy ? "at work" : "idle"}`, async (t) => {
    const threads = [];
    const worker = () => {
      const made = new PlayedKernelWorker();
      // What ends them is the word alone: browsers are slow to end a worker that computes.
      threads.push(made.over);
      made.terminate = () => {};
      return made;
    };
    globalThis.crossOriginIsolated = true;
    const machine = await Machine.open({ ...parts, worker }, 2);
    const bytes = 1 << 24;
    const values = machine.allocate(bytes);
    const list = listOf(machine, Array(5000).fill([KERNELS.clear, [], [[values, bytes]]]));
    await machine.idle();
    if (busy) machine.start(list.address, list.count);
    const waiting = machine.idle();
    // Nobody hears of this one, and Node would end the test for a failure that is not caught.
    machine.read(values, 4);
    machine.close();
    if (busy) await assert.rejects(waiting, { code: "bad-state" });
    await Promise.all(threads);
    await assert.rejects(machine.idle(), { code: "bad-state" });
  });
}
