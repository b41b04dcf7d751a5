/** The part of WebGPU's entry point that is looked at here. */
interface Gpu {
  requestAdapter(): Promise<object | null>;
}

/** Why WebGPU cannot be used here, for people to read; undefined where it can. */
export async function webgpuProblem(): Promise<string | undefined> {
  if (!globalThis.isSecureContext) {
    return "This page was not opened over https (or from localhost), and browsers offer WebGPU only there.";
  }
  const gpu = (navigator as { gpu?: Gpu }).gpu;
  if (!gpu) return "This browser does not offer WebGPU.";
  for (let tries = 0; tries < 3; tries++) {
    if (await gpu.requestAdapter().catch(() => null)) return undefined;
    // A GPU that just crashed takes a moment to come back.
    await new Promise((resolve) => setTimeout(resolve, 700));
  }
  return "This browser knows WebGPU but offers no GPU for it.";
}
