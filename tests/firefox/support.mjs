// A served tree and one Firefox for all the tests of a file.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { launch } from "../../tools/lib/firefox.mjs";
import { paths } from "../../tools/lib/paths.mjs";
import { serve } from "../../tools/lib/server.mjs";
import { KEPT, mountsOf, runJob } from "../browser/support.mjs";

/** The longest that a test waits for a page. */
export const TIMEOUT_MILLIS = 120_000;

/**
 * What the processor compiles for a GPU that it plays is used a few times, so optimising it takes Mesa longer than it
 * saves; what was compiled is kept for the next time.
 */
const MESA = { GALLIVM_PERF: "nopt", MESA_SHADER_CACHE_DIR: join(paths.root, "target/mesa-firefox") };

/** What is served where the engines of a page are kept in one worker. */
const KEEPING = { "/kept/": KEPT, "/kept/device.js": fileURLToPath(new URL("device.js", import.meta.url)) };

/** Runs in the page: engines that are made from here on are those of one worker of this page. */
function connectEngines() {
  const worker = new Worker("/kept/engines.js", { type: "module" });
  globalThis.connectEngine = () => {
    const { port1, port2 } = new MessageChannel();
    worker.postMessage("connect", [port2]);
    return port1;
  };
}

/** Opens the runner page in a fresh Firefox with these entries of about:config; closed when the test file is through. */
export async function openLab(t, { prefs, isolated } = {}) {
  const mounts = { ...mountsOf(), ...KEEPING };
  const server = await serve(mounts, { isolated });
  const browser = await launch({ prefs, env: MESA });
  t.after(async () => {
    await browser.close();
    await server.close();
  });
  const lab = {
    server,
    mounts,
    page: undefined,
    async openRunner() {
      await lab.page.goto(`${server.origin}/runner/`);
      await lab.page.waitForFunction(() => "runner" in globalThis);
    },
    async openPage() {
      lab.page = await browser.newPage();
      lab.page.setDefaultTimeout(TIMEOUT_MILLIS);
      await lab.openRunner();
    },
    run: (job) => lab.page.evaluate(runJob, job),
    /** Has the trainers of the page as it is now share one GPU device, on which each shader is compiled once. */
    async keepEngines() {
      await lab.page.evaluate(connectEngines);
      await lab.page.evaluate(readFileSync(join(KEPT, "page.js"), "utf8"));
    },
  };
  await lab.openPage();
  return lab;
}
