// Adapters that people pass on, in a browser: its keys and its storage, and a hub of another origin.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { launch } from "../../tools/lib/chromium.mjs";
import { paths } from "../../tools/lib/paths.mjs";
import { startHub } from "./hub-server.mjs";

const ADAPTER = join(paths.bases, "bitsandbytes_fp4/adapter");
const TOKEN = "hf_secretsecretsecret";

/** The bundles as they are published; a page without a policy, which may ask any hub. */
const PAGE = `<!doctype html>
<script type="module">
  import { TabtuneError } from "/tabtune/index.js";
  import * as exchange from "/tabtune/exchange.js";
  const names = ["adapter_config.json", "adapter_model.safetensors"];
  const bytes = async (name) => new Uint8Array(await (await fetch("/adapter/" + name)).arrayBuffer());
  const files = Object.fromEntries(await Promise.all(names.map(async (name) => [name, await bytes(name)])));
  globalThis.lab = { ...exchange, TabtuneError: undefined, is_ours: (thrown) => thrown instanceof TabtuneError, files };
</script>`;

let site, hub, model, browser, page;

before(async () => {
  const folders = { "/tabtune/": paths.package, "/adapter/": ADAPTER };
  site = createServer((request, response) => {
    if (request.url === "/") return response.writeHead(200, { "Content-Type": "text/html" }).end(PAGE);
    const prefix = Object.keys(folders).find((known) => request.url.startsWith(known));
    if (!prefix || request.url.includes("..")) return response.writeHead(404).end();
    const type = request.url.endsWith(".js") ? "text/javascript" : "application/octet-stream";
    response.writeHead(200, { "Content-Type": type }).end(readFileSync(join(folders[prefix], request.url.slice(prefix.length))));
  });
  await new Promise((resolve) => site.listen(0, "localhost", resolve));
  model = { id: "somebody/recipes", revision: "main", sha: "0".repeat(40), files: {}, lfs: [] };
  hub = await startHub(model);
  browser = await launch({ gpu: "none" });
  page = await browser.newPage();
  await open();
});

after(async () => {
  await browser.close();
  site.closeAllConnections();
  await Promise.all([hub.close(), new Promise((resolve) => site.close(resolve))]);
});

async function open() {
  await page.goto(`http://localhost:${site.address().port}/`);
  await page.waitForFunction(() => "lab" in globalThis);
}

test("the key and the shelf are there after a reload", async () => {
  const before = await page.evaluate(async () => {
    const { cardFor, files, openShelf, sign, signer } = lab;
    await (await signer()).rename("Ada");
    const signed = await sign(files, await cardFor(files, { title: "Recipes" }));
    await (await openShelf()).put("Recipes", signed);
    const { name, public_key } = await signer();
    return { name, public_key };
  });
  await open();
  const after = await page.evaluate(async () => {
    const { files, openShelf, signer, verify } = lab;
    const { name, public_key, fingerprint } = await signer();
    const shelf = await openShelf();
    const [kept] = await shelf.list();
    const opened = await shelf.open("Recipes");
    const same = Object.keys(files).every((file) => String(files[file]) === String(opened[file]));
    const { signed, by } = await verify(opened);
    return { name, public_key, is_mine: kept.signed_by.fingerprint === fingerprint, same, signed, by };
  });
  assert.deepEqual(after, { ...before, is_mine: true, same: true, signed: "yes", by: "Ada" });
});

test("an adapter goes to a hub of another origin and comes back, whole and in parts", async () => {
  for (const [part_bytes, alpha] of [[undefined, 8], [10_000, 16]]) {
    hub.reset();
    Object.assign(model, { files: {}, lfs: [] });
    Object.assign(hub.faults, { token: TOKEN, part_bytes });
    const result = await page.evaluate(async ({ repo, token, hub, alpha }) => {
      const { adapterFile, cardFor, fetchAdapter, files, readAdapter, sign, uploadAdapter } = lab;
      // Other bytes each time, which the storage does not have yet.
      const own = { ...files, "adapter_model.safetensors": files["adapter_model.safetensors"].slice() };
      own["adapter_model.safetensors"][own["adapter_model.safetensors"].length - 4] ^= alpha;
      const signed = await sign(own, await cardFor(own, { title: "Recipes" }));
      await uploadAdapter({ repo, token, hub, files: signed });
      const fetched = await fetchAdapter(repo, { token, hub });
      const again = await readAdapter(adapterFile(fetched.files));
      return { signed: fetched.verified.signed, same: Object.keys(signed).every((name) => String(signed[name]) === String(again[name])) };
    }, { repo: model.id, token: TOKEN, hub: hub.hub.origin, alpha });
    assert.deepEqual(result, { signed: "yes", same: true });
    assert.ok(hub.cdn.requests.filter(({ method }) => method === "PUT").length === (part_bytes ? 4 : 1));
    assert.ok(hub.cdn.requests.every(({ authorization }) => authorization === null), "the storage does not get the token");
  }
});

test("errors are of the one class that the page knows", async () => {
  const told = await page.evaluate(async () => {
    const thrown = await lab.fetchAdapter("http://elsewhere.example/a.zip").catch((error) => error);
    return { is_ours: lab.is_ours(thrown), code: thrown.code };
  });
  assert.deepEqual(told, { is_ours: true, code: "bad-option" });
});
