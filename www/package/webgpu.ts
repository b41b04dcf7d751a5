/** The part of WebGPU's entry point that is looked at here. */
interface Gpu {
  requestAdapter(): Promise<object | null>;
}

/** Why WebGPU cannot be used here, for people to read; undefined where it can. */
export function webgpuProblem(): Promise<string | undefined> {
  return problemAfter(3);
}

/** The same after so many tries, between which it waits. */
export async function problemAfter(tries: number): Promise<string | undefined> {
  if (!globalThis.isSecureContext) {
    return "This page was not opened over https (or from localhost), and browsers offer WebGPU only there.";
  }
  const gpu = (navigator as { gpu?: Gpu }).gpu;
  if (!gpu) return "This browser does not offer WebGPU.";
  while (true) {
    if (await gpu.requestAdapter().catch(() => null)) return undefined;
    tries -= 1;
    if (tries === 0) break;
    // A GPU that just crashed takes a moment to come back.
    await new Promise((resolve) => setTimeout(resolve, 700));
  }
  return "This browser knows WebGPU but offers no GPU for it.";
}
