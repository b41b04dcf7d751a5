// The WebAssembly module: its size, and its shaders before the browser's own compiler.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { paths } from "../../tools/lib/paths.mjs";
import { openLab } from "./support.mjs";

test("the module is at most 2 MB after gzip", (t) => {
  const module = readFileSync(join(paths.package, "wasm/tabtune_bg.wasm"));
  const packed = gzipSync(module, { level: 9 }).length;
  t.diagnostic(`${packed} bytes after gzip, ${module.length} before`);
  assert.ok(packed <= 2_000_000, `${packed} bytes`);
});

/** Runs in the page: every shader's complaints by name. */
async function compileAll() {
  const { default: init, shaders } = await import("/tabtune/wasm/tabtune.js");
  await init();
  const adapter = await navigator.gpu.requestAdapter();
  const requiredFeatures = ["subgroups", "shader-f16"].filter((feature) => adapter.features.has(feature));
  const device = await adapter.requestDevice({ requiredFeatures });
  const found = {};
  for (const [name, text] of Object.entries(shaders())) {
    // Where the adapter has no f16, everything but its name for the type is checked.
    const code = device.features.has("shader-f16") ? text : text.replace("enable f16;", "").replaceAll("f16", "f32");
    const { messages } = await device.createShaderModule({ label: name, code }).getCompilationInfo();
    found[name] = messages
      .filter(({ type }) => type === "error")
      .map(({ lineNum, linePos, message }) => `line ${lineNum}:${linePos}: ${message}`);
  }
  const { messages } = await device.createShaderModule({ code: "fn broken(" }).getCompilationInfo();
  device.destroy();
  return { found, broken: messages.length };
}

test("every shader compiles in the browser under WebGPU's default limits", async (t) => {
  const lab = await openLab(t);
  const { found, broken } = await lab.page.evaluate(compileAll);
  assert.ok(broken > 0, "a broken shader is noticed");
  assert.ok(Object.keys(found).length > 0, "the module hands out its shaders");
  for (const [name, errors] of Object.entries(found)) {
    await t.test(name, () => assert.deepEqual(errors, []));
  }
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
