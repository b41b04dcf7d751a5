// The WebAssembly module: its size, and its shaders before the browser's own compiler.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { paths } from "../../tools/lib/paths.mjs";
import { checkShaders, shaderNames } from "./shaders.mjs";
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

/** Those that run here beside `direct`; the others need f16, which SwiftShader lacks, or are for no browser. */
const TILES = ["subgroup4", "shared32", "shared64", "decoded64", "shared128"];

/** Runs in the page: tiles of the linear kernels, each on a weight of one format, against plain arithmetic. */
async function checkTiles(pairs) {
  const { default: init, check_tiles } = await import("/tabtune/wasm/tabtune.js");
  await init();
  return await check_tiles(pairs);
}

// A tile takes SwiftShader seconds to compile for each format, although formats differ only in the function that reads
// eight values (shaders/shared/weight). So one tile runs that function of each format, in the product or
// before it, and each tile runs one format, whose table of codes is what tiles hold in ways of their own.
test("every tile of the linear kernels, and every format, computes in the browser what plain arithmetic does", async (t) => {
  const lab = await openLab(t);
  const shaders = await lab.page.evaluate(shaderNames);
  const read = (pattern) => [...new Set(shaders.map((name) => pattern.exec(name)?.[1]).filter(Boolean))];
  const [formats, in_product] = [read(/^linear_forward\.\w+\.(\w+)$/), read(/^linear_forward\.direct\.(\w+)$/)];
  assert.ok(formats.length >= 16 && in_product.length >= 5, `${formats} ${in_product}`);
  // What "direct" does not read in the product is decoded for it, and for "decoded" all is.
  const by_direct = [...formats.map((format) => ["direct", format]), ...in_product.map((format) => ["decoded", format])];
  const pairs = [...by_direct, ...TILES.map((tile) => [tile, "nf4"])];
  const found = await lab.page.evaluate(checkTiles, pairs);
  const ran = found.map(([tile, format, direction]) => `${tile} ${format} ${direction}`);
  assert.deepEqual(ran, pairs.flatMap(([tile, format]) => [`${tile} ${format} forward`, `${tile} ${format} backward`]));
  assert.deepEqual(found.filter(([, , , agrees]) => !agrees), []);
});
