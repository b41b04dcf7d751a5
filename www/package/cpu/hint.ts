/** What decides over what computes on a page. */
export interface Place {
  user_agent: string;
  is_secure: boolean;
  /** Whether workers may share memory. */
  is_isolated: boolean;
  cores: number;
}

/** The place of the engine's own thread. */
export function here(): Place {
  return {
    user_agent: navigator.userAgent,
    is_secure: globalThis.isSecureContext,
    is_isolated: globalThis.crossOriginIsolated,
    cores: navigator.hardwareConcurrency,
  };
}

/** Why WebGPU was not taken where there is no other reason. */
const IS_SOFTWARE = "The processor plays the GPU that this browser offers, and is faster as itself.";

/**
 * Tells people why the processor computes and what would be faster. `problem` is why WebGPU cannot be used, or undefined
 * where the processor plays it; null where the page asked for the processor. Undefined where there is nothing to tell.
 */
export function hintOf(problem: string | undefined | null, place: Place = here()): string | undefined {
  const { is_secure, is_isolated, cores } = place;
  const sentences = problem === null ? [] : [problem ?? IS_SOFTWARE, is_secure ? wayToGpu(place.user_agent) : "Open it over https."];
  if (is_secure && !is_isolated && cores > 1) {
    sentences.push(
      `One of ${cores} cores computes: all do on pages with the headers Cross-Origin-Opener-Policy: same-origin and ` +
        "Cross-Origin-Embedder-Policy: require-corp.",
    );
  }
  return sentences.length > 0 ? sentences.join(" ") : undefined;
}

/** What gets a GPU in a browser, as of the Implementation Status of gpuweb's wiki. */
function wayToGpu(user_agent: string): string {
  const is = (pattern: RegExp) => pattern.test(user_agent);
  const is_linux = is(/Linux/) && !is(/Android/);
  if (is(/Firefox\//)) {
    if (is(/Android/)) return "Take Chrome, which has WebGPU on Android 12 and later.";
    if (is_linux) return "In about:config set dom.webgpu.enabled and gfx.webgpu.ignore-blocklist to true.";
    return "Firefox has WebGPU from version 141 on Windows, and from 145 on Macs with Apple silicon and macOS 26. Update the GPU's driver.";
  }
  if (is(/Chrome\//)) {
    if (is(/Android/)) return "Chrome has WebGPU from version 121 on Android 12 and later.";
    if (is_linux) {
      return (
        "Switch on chrome://flags/#enable-unsafe-webgpu and chrome://flags/#enable-vulkan, and install the GPU's Vulkan driver; " +
        "chrome://gpu tells what is blocked."
      );
    }
    return "Switch on graphics acceleration in chrome://settings/system and update the GPU's driver; chrome://gpu tells what is blocked.";
  }
  if (is(/Safari\//)) {
    return is_linux ? "Take Chrome or Firefox: WebKitGTK has no WebGPU." : "Safari has WebGPU from version 26.";
  }
  return "Take a current Chrome, Edge, Firefox or Safari.";
}
