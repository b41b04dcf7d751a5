// What the engine computes in WebKitGTK against PyTorch, in a browser of its own: WebKitGTK computes by one worker, so the tests of
// another file have the other core.
import { test } from "node:test";
import { checkParity } from "../browser/parity.mjs";
import { runJob } from "../browser/support.mjs";
import { openLab } from "./support.mjs";

test("small models train in WebKitGTK as PyTorch trains them", async (t) => {
  const { page } = await openLab(t);
  await checkParity(t, (job) => page.evaluate(runJob, { device: "auto", ...job }));
});
