// The engine's shaders before a browser's own compiler.
import assert from "node:assert/strict";

/** Runs in the page: every shader's complaints by name. */
async function compileAll() {
  const { default: init, shaders } = await import("/tabtune/wasm/tabtune.js");
  await init();
  const adapter = await navigator.gpu.requestAdapter();
  const requiredFeatures = ["subgroups", "shader-f16"].filter((feature) => adapter.features.has(feature));
  const device = await adapter.requestDevice({ requiredFeatures });
  const found = {};
  for (const [name, text] of Object.entries(shaders())) {
    // A browser without subgroups refuses what uses them, and the engine gives it nothing of the kind.
    if (text.includes("enable subgroups;") && !device.features.has("subgroups")) {
      found[name] = "needs subgroups";
      continue;
    }
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

/** Runs in the page: the names of all shaders. */
export async function shaderNames() {
  const { default: init, shaders } = await import("/tabtune/wasm/tabtune.js");
  await init();
  return Object.keys(shaders());
}

/** Compiles each shader in `page`, as a test of its own; returns the names of those that need what the browser lacks. */
export async function checkShaders(t, page) {
  const { found, broken } = await page.evaluate(compileAll);
  assert.ok(broken > 0, "a broken shader is noticed");
  assert.ok(Object.keys(found).length > 0, "the module hands out its shaders");
  const lacking = Object.keys(found).filter((name) => typeof found[name] === "string");
  for (const [name, errors] of Object.entries(found)) {
    if (!lacking.includes(name)) await t.test(name, () => assert.deepEqual(errors, []));
  }
  return lacking;
}
