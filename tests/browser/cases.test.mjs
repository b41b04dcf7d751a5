// Inputs that are common elsewhere, in a page: the cases of tests/cases that a page has to run. None finds what another
// has stored.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch } from "../../tools/lib/chromium.mjs";
import { paths } from "../../tools/lib/paths.mjs";
import { serve } from "../../tools/lib/server.mjs";
import { buildSafetensors } from "./safetensors.mjs";
import { keepEngines, KEPT } from "./support.mjs";

const CASES = join(paths.root, "tests/cases");
/** A name that Chromium takes for another machine. */
const ELSEWHERE = "machine.test";

const caseOf = (name) => JSON.parse(readFileSync(join(CASES, name, "case.json"), "utf8"));
const names = readdirSync(CASES, { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && caseOf(entry.name).run.page !== undefined)
  .map(({ name }) => name);

/** What must come of each case, as its page.js says it. */
const RIGHT = {
  "another-run-same-dataset": (steps) => assert.deepEqual(steps, [1, 2]),
  "firefox-waits-for-permission": (rows) => assert.equal(rows, 1),
  "folder-with-infos": (rows) => assert.equal(rows, 1),
  "folder-with-readme": (found) => assert.deepEqual(found, [0, "jsonl"]),
  "generate-with-init-adapter": (differs) => assert.equal(differs, true),
  "held-out-share-of-few": (shares) => assert.ok(shares.every((rows) => rows > 0), String(shares)),
  "hub-page-address": ([address, slash, blanks]) => {
    assert.deepEqual([address, blanks], ["loaded", "loaded"]);
    assert.match(slash, /owner\/name/);
  },
  "insecure-origin": (told) => assert.equal(told, true),
  "parquet-heavy-column": (rows) => assert.equal(rows, 2),
  "resume-with-more-steps": ([first, then]) => {
    assert.equal(first, 2);
    if (then !== 2) assert.match(then, /init_adapter/);
  },
  "row-refused-by-template": (rows) => assert.deepEqual(rows, [6, 1]),
};

/** What a case needs beside its folder. */
const SETTINGS = {
  // A question of the browser's that nobody answers.
  "firefox-waits-for-permission": (page) => page.evaluate(() => (navigator.storage.persist = () => new Promise(() => {}))),
  "generate-with-init-adapter": () => Object.assign(mounts, loudAdapter()),
  "hub-page-address": async (page) => {
    // A shared worker's requests could not be answered from here.
    await page.evaluate(() => (globalThis.has_own_workers = true));
    await page.route("https://huggingface.co/**", playedHub);
  },
  "row-refused-by-template": () => {
    const template = join(CASES, "row-refused-by-template/chat_template.jinja");
    Object.assign(mounts, { "/model/": paths.model, "/model/chat_template.jinja": template });
  },
};

const mounts = { "/tabtune/": paths.package, "/runner/": paths.runner, "/models/": join(paths.root, "www/models"), "/kept/": KEPT };
let server, browser;

before(async () => {
  server = await serve(mounts);
  browser = await launch({ gpu: "none", args: [`--host-resolver-rules=MAP ${ELSEWHERE} localhost`] });
});

after(async () => {
  await browser.close();
  await server.close();
});

test("cases in a page", async (t) => {
  assert.deepEqual(names, Object.keys(RIGHT));
  const page = await browser.newPage();
  const { origin } = server;
  const { port } = new URL(origin);
  await keepEngines(page.context(), origin);
  await page.bringToFront();
  const devtools = await page.context().newCDPSession(page);
  for (const name of names) {
    const { title, run } = caseOf(name);
    await t.test(`${name}: ${title}`, async () => {
      mounts["/case/"] = join(CASES, name);
      await page.goto("about:blank");
      await devtools.send("Storage.clearDataForOrigin", { origin, storageTypes: "indexeddb,local_storage,cache_storage,file_systems" });
      await page.goto(name === "insecure-origin" ? `http://${ELSEWHERE}:${port}/runner/` : `${origin}/runner/`);
      await page.waitForFunction(() => "runner" in globalThis);
      await SETTINGS[name]?.(page);
      const body = readFileSync(join(CASES, name, run.page), "utf8");
      RIGHT[name](await page.evaluate(`(async (tabtune) => {${body}\n})(globalThis.runner.tabtune)`));
    });
  }
});

/** An adapter of the bundled model that changes its answers visibly. */
function loudAdapter() {
  const { hidden_size, num_hidden_layers, num_attention_heads, num_key_value_heads, head_dim } = JSON.parse(
    readFileSync(join(paths.model, "config.json"), "utf8"),
  );
  const r = 4;
  let state = 1;
  const random = () => (state = (state * 48271) % 2147483647) / 2147483647 - 0.5;
  const matrix = (rows, columns, scale) => {
    const values = Float32Array.from({ length: rows * columns }, () => scale * random());
    return { dtype: "F32", shape: [rows, columns], bytes: new Uint8Array(values.buffer) };
  };
  const tensors = {};
  for (let layer = 0; layer < num_hidden_layers; layer++) {
    for (const [module, heads] of [["q_proj", num_attention_heads], ["v_proj", num_key_value_heads]]) {
      const path = `base_model.model.model.layers.${layer}.self_attn.${module}`;
      tensors[`${path}.lora_A.weight`] = matrix(r, hidden_size, 1);
      tensors[`${path}.lora_B.weight`] = matrix(heads * head_dim, r, 50);
    }
  }
  const config = { peft_type: "LORA", task_type: "CAUSAL_LM", r, lora_alpha: r, target_modules: ["q_proj", "v_proj"] };
  return {
    "/adapter/adapter_config.json": Buffer.from(JSON.stringify(config)),
    "/adapter/adapter_model.safetensors": buildSafetensors(tensors),
  };
}

/** Answers in the hub's place, which has the bundled model under whatever name it is asked for. */
async function playedHub(route) {
  const { pathname } = new URL(route.request().url());
  const headers = { "Access-Control-Allow-Origin": "*" };
  const files = readdirSync(paths.model);
  const read = (name) => readFileSync(join(paths.model, name));
  if (pathname.startsWith("/api/models/HuggingFaceTB/SmolLM2-135M-Instruct/")) {
    const listed = (path) => {
      const bytes = read(path);
      return { type: "file", path, size: bytes.length, oid: createHash("sha1").update(bytes).digest("hex") };
    };
    const json = pathname.includes("/tree/") ? files.map(listed) : { sha: "c0ffee" };
    await route.fulfill({ headers, json });
    return;
  }
  const name = files.find((file) => pathname === `/HuggingFaceTB/SmolLM2-135M-Instruct/resolve/c0ffee/${file}`);
  if (name) await route.fulfill({ headers, body: read(name) });
  else await route.fulfill({ status: 404, headers });
}
