// A served tree and one Firefox for all the tests of a file.
import { join } from "node:path";
import { launch } from "../../tools/lib/firefox.mjs";
import { paths } from "../../tools/lib/paths.mjs";
import { serve } from "../../tools/lib/server.mjs";
import { mountsOf, runJob } from "../browser/support.mjs";

/** The longest that a test waits for a page. */
export const TIMEOUT_MILLIS = 120_000;

/**
 * What the processor compiles for a GPU that it plays is used a few times, so optimising it takes Mesa longer than it
 * saves; what was compiled is kept for the next time.
 */
const MESA = { GALLIVM_PERF: "nopt", MESA_SHADER_CACHE_DIR: join(paths.root, "target/mesa-firefox") };

/** Opens the runner page in a fresh Firefox; closed when the test file is through. */
export async function openLab(t) {
  const mounts = mountsOf();
  const server = await serve(mounts);
  const browser = await launch({ env: MESA });
  t.after(async () => {
    await browser.close();
    await server.close();
  });
  const page = await browser.newPage();
  page.setDefaultTimeout(TIMEOUT_MILLIS);
  const openRunner = async () => {
    await page.goto(`${server.origin}/runner/`);
    await page.waitForFunction(() => "runner" in globalThis);
  };
  await openRunner();
  return { server, mounts, page, openRunner, run: (job) => page.evaluate(runJob, job) };
}
