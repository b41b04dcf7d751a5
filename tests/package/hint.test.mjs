// What people are told where the processor computes.
import assert from "node:assert/strict";
import { test } from "node:test";
import { hintOf } from "../../www/package/build/cpu/hint.js";

const CHROME = "(KHTML, like Gecko) Chrome/144.0.0.0 Safari/537.36";
const SAFARI = "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15";
const PLACE = { user_agent: `Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 ${CHROME}`, is_secure: true, is_isolated: true, cores: 8 };

test("why the processor computes and what gets a GPU in this browser is told", () => {
  const told = (system, engine) => hintOf("No WebGPU.", { ...PLACE, user_agent: `Mozilla/5.0 (${system}) ${engine}` });
  const firefox = "Gecko/20100101 Firefox/140.0";
  for (const [system, engine, way] of [
    ["X11; Linux x86_64", CHROME, /chrome:\/\/flags\/#enable-unsafe-webgpu.*#enable-vulkan.*chrome:\/\/gpu/],
    ["Windows NT 10.0; Win64; x64", CHROME, /^No WebGPU\. Switch on graphics acceleration.*driver/],
    ["Linux; Android 10; K", CHROME, /Android 12/],
    ["X11; Linux x86_64; rv:140.0", firefox, /about:config.*dom\.webgpu\.enabled.*gfx\.webgpu\.ignore-blocklist/],
    ["Windows NT 10.0; Win64; x64; rv:140.0", firefox, /141 on Windows/],
    ["Android 15; Mobile; rv:140.0", firefox, /Chrome/],
    ["Macintosh; Intel Mac OS X 10_15_7", SAFARI, /version 26/],
    ["X11; Linux x86_64", SAFARI, /WebKitGTK/],
    ["Linux", "Servo/1.0", /current Chrome/],
  ]) {
    assert.match(told(system, engine), way, `${system} ${engine}`);
  }
  assert.match(hintOf(undefined, PLACE), /^The processor plays the GPU.*#enable-vulkan/);
  const insecure = hintOf("Not over https.", { ...PLACE, is_secure: false, is_isolated: false });
  assert.equal(insecure, "Not over https. Open it over https.", "neither flags nor headers help there");
});

test("what keeps a page from using all cores is told, whoever asked for the processor", () => {
  const open = { ...PLACE, is_isolated: false };
  for (const problem of [null, undefined, "No WebGPU."]) {
    assert.match(hintOf(problem, open), /One of 8 cores computes.*Opener-Policy: same-origin.*Embedder-Policy: require-corp/);
  }
  assert.equal(hintOf(null, PLACE), undefined);
  assert.equal(hintOf(null, { ...open, cores: 1 }), undefined);
});
