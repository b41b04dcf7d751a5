// Who a node is in a browser: keys in IndexedDB that nobody can read, the same in every tab and after a reload.
import assert from "node:assert/strict";
import { test } from "node:test";
import { rolldown } from "rolldown";
import { launch } from "../../tools/lib/chromium.mjs";
import { paths } from "../../tools/lib/paths.mjs";
import { serve } from "../../tools/lib/server.mjs";

/** The wire half in one file, as it is in the worker. */
async function bundled() {
  const build = await rolldown({ cwd: paths.modules, input: "./federated/wire/index.js", platform: "browser" });
  const { output } = await build.generate({ format: "es", codeSplitting: false });
  await build.close();
  return new TextEncoder().encode(output[0].code);
}

/** What a worker does with its server's identity: it tells its key and whether that can be read, and signs. */
const WORKER = `
import { Identity, verify } from "./wire.js";
onmessage = async ({ data: { base, node_id } }) => {
  try {
    const identity = await Identity.of(base);
    if (node_id) await identity.setNodeId(node_id);
    const bytes = new Uint8Array([1, 2, 3]);
    const request = indexedDB.open("tabtune-federated");
    request.onsuccess = () => {
      const reading = request.result.transaction("identities").objectStore("identities").get(identity.base);
      reading.onsuccess = async () => {
        const { privateKey } = reading.result.keys;
        const exported = await crypto.subtle.exportKey("pkcs8", privateKey).then(() => "read", (error) => error.name);
        const signed = await verify(identity.pem, bytes, await identity.sign(bytes));
        postMessage({ pem: identity.pem, node_id: identity.node_id, exported, signed });
      };
    };
  } catch (thrown) {
    postMessage({ error: String(thrown) });
  }
};`;

/** Runs in the page. */
const asked = (told) =>
  new Promise((resolve, reject) => {
    const worker = new Worker("/worker.js", { type: "module" });
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(message));
    worker.postMessage(told);
  });

test("keys are made once, in whatever tab, and cannot be read", async (t) => {
  const text = (code) => new TextEncoder().encode(code);
  const page = { "/index.html": text("<!doctype html>"), "/favicon.ico": text("") };
  const server = await serve({ ...page, "/worker.js": text(WORKER), "/wire.js": await bundled() });
  const browser = await launch({ gpu: "none" });
  t.after(async () => {
    await browser.close();
    await server.close();
  });
  const pages = [await browser.newPage(), await browser.newPage()];
  for (const page of pages) await page.goto(`${server.origin}/index.html`);
  const base = "https://learn.test";
  const first = await Promise.all([...pages, ...pages].map((page) => page.evaluate(asked, { base })));
  for (const { pem, exported, signed, node_id, error } of first) {
    assert.deepEqual([error, pem, exported, signed, node_id], [undefined, first[0].pem, "InvalidAccessError", true, undefined]);
  }
  assert.match(first[0].pem, /^-----BEGIN PUBLIC KEY-----\n([\w+/=]{1,64}\n)+-----END PUBLIC KEY-----\n$/);
  await pages[0].evaluate(asked, { base, node_id: 2n ** 63n + 1n });
  await pages[1].reload();
  const again = await pages[1].evaluate(asked, { base });
  assert.deepEqual([again.pem, again.node_id], [first[0].pem, 2n ** 63n + 1n]);
  const other = await pages[1].evaluate(asked, { base: "https://other.test" });
  assert.notEqual(other.pem, first[0].pem);
});
