// Page, worker and CPU engine of different builds: what a browser's cache makes of an update.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { paths } from "../../tools/lib/paths.mjs";
import { openLab } from "../browser/support.mjs";

test("a worker or a CPU engine of another build of the same version is refused", async (t) => {
  const lab = await openLab(t, { device: "cpu" });
  const mine = await lab.page.evaluate(() => globalThis.runner.tabtune.VERSION);
  for (const name of ["evaluation.js", "models.js"]) {
    assert.ok(readFileSync(join(paths.package, name), "utf8").includes(mine), `${name} carries the page's stamp`);
  }
  const other = mine.replace(/\+.*/, "+000000000000");
  for (const name of ["worker.js", "machine.js"]) {
    const file = readFileSync(join(paths.package, name), "utf8");
    assert.ok(file.includes(mine), `${name} carries the page's stamp`);
    lab.mounts[`/tabtune/${name}`] = new TextEncoder().encode(file.replaceAll(mine, other));
    const { error } = await lab.run({});
    delete lab.mounts[`/tabtune/${name}`];
    assert.equal(error?.code, "bad-state");
    assert.ok(error.message.includes(mine) && error.message.includes(other), error.message);
    assert.match(error.message, /reload the page/);
  }
});
