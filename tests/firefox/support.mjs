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

/** Opens the runner page in a fresh Firefox with these entries of about:config; closed when the test file is through. */
export async function openLab(t, { prefs, isolated } = {}) {
  const mounts = mountsOf();
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
  };
  await lab.openPage();
  return lab;
}
