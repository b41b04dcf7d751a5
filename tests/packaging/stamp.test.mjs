// Page and worker of different builds: what a browser's cache makes of an update.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { paths } from "../../tools/lib/paths.mjs";
import { openLab } from "../browser/support.mjs";

test("a worker of another build of the same version is refused", async (t) => {
  const lab = await openLab(t);
  const mine = await lab.page.evaluate(() => globalThis.runner.tabtune.VERSION);
  const other = mine.replace(/\+.*/, "+000000000000");
  const worker = readFileSync(join(paths.package, "worker.js"), "utf8");
  assert.ok(worker.includes(mine), "the worker carries the page's stamp");
  lab.mounts["/tabtune/worker.js"] = new TextEncoder().encode(worker.replaceAll(mine, other));
  const { error } = await lab.run({});
  assert.equal(error?.code, "bad-state");
  assert.ok(error.message.includes(mine) && error.message.includes(other), error.message);
  assert.match(error.message, /reload the page/);
});
