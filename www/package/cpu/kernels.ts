/** What an instance of the kernels' module exports. Addresses and sizes are in bytes of its memory. */
export interface Kernels {
  /** Where the stack goes down from: each instance has one of its own on the common memory. */
  __stack_pointer: WebAssembly.Global<"i32">;
  /** Where the module's own data ends. */
  __heap_base: WebAssembly.Global<"i32">;
  control_bytes(): number;
  scratch_bytes(): number;
  /** Does a worker's part of a list of calls, and returns when all workers have done theirs. */
  work(list: number, count: number, control: number, workers: number, scratch: number): void;
  /** Has all workers leave the list that they work on. */
  stop(control: number): void;
  /** Goes on with a list alone until it is through, which it returns, or it is `until`. */
  advance(list: number, count: number, cursor: number, until: number, scratch: number): number;
}

/** The pages that the module asks for; build.sh says the same to the linker. */
export const INITIAL_PAGES = 16;

/** Kernels keep their panels in the scratch, so a stack holds little more than calls. The module's own is as large. */
export const STACK_BYTES = 128 * 1024;

/** Makes an instance of the kernels on a memory. */
export async function instantiate(module: WebAssembly.Module, memory: WebAssembly.Memory): Promise<Kernels> {
  const words = new Int32Array(memory.buffer);
  const env = {
    memory,
    now: () => performance.now(),
    sleep: (address: number, value: number) => void Atomics.wait(words, address >>> 2, value),
    wake: (address: number) => void Atomics.notify(words, address >>> 2),
  };
  const { exports } = await WebAssembly.instantiate(module, { env });
  return exports as unknown as Kernels;
}

/** A flavour of SIMD. Results of one are the same to the bit on every machine, those of two are not. */
export type Flavour = "simd128" | "relaxed-simd";

/** A module whose function `f` gives the first of the four values of a(1 + 2⁻¹²)² − (1 + 2⁻¹¹), fused if that is to be had. */
// prettier-ignore
const FUSES = (() => {
  const splat = (bits: number[]) => [0xfd, 0x0c, ...bits, ...bits, ...bits, ...bits];
  // f32 bits, least byte first: 1 + 2⁻¹² twice, and −(1 + 2⁻¹¹).
  const factor = splat([0x00, 0x08, 0x80, 0x3f]);
  const addend = splat([0x00, 0x10, 0x80, 0xbf]);
  const body = [0x00, ...factor, ...factor, ...addend, 0xfd, 0x85, 0x02, 0xfd, 0x1f, 0x00, 0x0b];
  return new Uint8Array([
    0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00,
    0x01, 0x05, 0x01, 0x60, 0x00, 0x01, 0x7d, // () -> f32
    0x03, 0x02, 0x01, 0x00,
    0x07, 0x05, 0x01, 0x01, 0x66, 0x00, 0x00, // "f"
    0x0a, body.length + 2, 0x01, body.length, ...body,
  ]);
})();

/**
 * The flavour that is fastest here. Relaxed SIMD counts only where its multiply-add rounds once, as nearly every
 * processor does it, so that its results are the same everywhere.
 */
export async function bestFlavour(): Promise<Flavour> {
  if (!WebAssembly.validate(FUSES)) return "simd128";
  const { instance } = await WebAssembly.instantiate(FUSES);
  const { f } = instance.exports as { f(): number };
  return f() === 2 ** -24 ? "relaxed-simd" : "simd128";
}
