// A served tree and one WebKitGTK for all the tests of a file.
import { serve } from "../../tools/lib/server.mjs";
import { launch } from "../../tools/lib/webkit.mjs";
import { mountsOf } from "../browser/support.mjs";

/** Opens the runner page in a fresh WebKitGTK; closed when the test file is through. */
export async function openLab(t) {
  const mounts = mountsOf();
  const server = await serve(mounts);
  const page = await launch();
  t.after(async () => {
    await page.close();
    await server.close();
  });
  const openRunner = async () => {
    await page.goto(`${server.origin}/runner/`);
    await page.evaluate(async () => {
      while (!("runner" in globalThis)) await new Promise((resolve) => setTimeout(resolve, 20));
    });
  };
  await openRunner();
  return { page, mounts, server, openRunner };
}
