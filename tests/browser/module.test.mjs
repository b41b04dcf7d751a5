// The WebAssembly module: its size, and its shaders before the browser's own compiler.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { paths } from "../../tools/lib/paths.mjs";
import { checkShaders } from "./shaders.mjs";
import { openLab } from "./support.mjs";

test("the module is at most 2 MB after gzip", (t) => {
  const module = readFileSync(join(paths.package, "wasm/tabtune_bg.wasm"));
  const packed = gzipSync(module, { level: 9 }).length;
  t.diagnostic(`${packed} bytes after gzip, ${module.length} before`);
  assert.ok(packed <= 2_100_000, `${packed} bytes`);
});

test("every shader compiles in the browser under WebGPU's default limits", async (t) => {
  const lab = await openLab(t);
  assert.deepEqual(await checkShaders(t, lab.page), [], "Chromium has what each of them needs");
});

/** Runs in the page: every tile of the linear kernels against plain arithmetic. */
async function checkTiles() {
  const { default: init, check_tiles } = await import("/tabtune/wasm/tabtune.js");
  await init();
  return await check_tiles();
}

test("every tile of the linear kernels computes in the browser what plain arithmetic does", async (t) => {
  const lab = await openLab(t);
  const found = await lab.page.evaluate(checkTiles);
  const tiles = new Set(found.map(([tile]) => tile));
  for (const tile of ["direct", "subgroup4", "shared32", "shared64", "shared128"]) assert.ok(tiles.has(tile), tile);
  assert.deepEqual(found.filter(([, , , agrees]) => !agrees), []);
});
