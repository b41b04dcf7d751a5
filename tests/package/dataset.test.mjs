// What a page does before its worker imports rows: permission, locks, and waiting for others.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Dataset } from "../../www/package/build/dataset.js";
import { withTokensOf } from "../../www/package/build/locks.js";
import { settled } from "./settled.mjs";

/** Answers every call at once; an import ends when `finish` is called with its name. */
const imports = new Map();
let ended = 0;
globalThis.Worker = class {
  postMessage({ id, call, args }) {
    const answer = (result) => this.onmessage?.({ data: { id, result } });
    if (call !== "import") setTimeout(() => answer(undefined), 0);
    else if (args.name === "slow") imports.set(args.name, () => answer({ rows: 1 }));
    else setTimeout(() => answer({ rows: 1 }), 0);
  }
  terminate() {
    ended += 1;
  }
};

/** Locks as the Web Locks API has them, of one page. */
function fakeLocks() {
  const ends = new Map();
  return {
    async request(name, { ifAvailable, signal }, work) {
      const before = ends.get(name);
      if (before && ifAvailable) return work(null);
      const stopped = new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));
      await Promise.race([before, ...(signal ? [stopped] : [])]);
      const done = (async () => work({ name }))();
      const end = done.catch(() => {}).then(() => ends.get(name) === end && ends.delete(name));
      ends.set(name, end);
      return done;
    },
  };
}

function onPage(navigator) {
  Object.defineProperty(globalThis, "navigator", { value: navigator, configurable: true });
}

test("an import does not wait for the question about storage to be answered", async () => {
  let asked = 0;
  onPage({ locks: fakeLocks(), storage: { persist: () => new Promise(() => (asked += 1)) } });
  const dataset = await Dataset.open("any");
  assert.equal((await dataset.import([{ text: "a" }])).rows, 1);
  assert.equal(asked, 1);
  onPage({ locks: fakeLocks(), storage: { persist: () => Promise.reject(new Error("no")) } });
  assert.equal((await dataset.import([{ text: "a" }])).rows, 1);
});

test("a page that is not secure is told what it needs", async () => {
  onPage({});
  const dataset = await Dataset.open("any");
  for (const change of [() => dataset.import([{ text: "a" }]), () => dataset.delete(), () => dataset.deduplicate()]) {
    await assert.rejects(change, { name: "TabtuneError", code: "bad-state", message: /https, or at http:\/\/localhost$/ });
  }
});

test("an import fails at once, or waits, while another one changes the dataset", async () => {
  onPage({ locks: fakeLocks() });
  const dataset = await Dataset.open("slow");
  const first = dataset.import([{ text: "a" }]);
  await settled();
  await assert.rejects(dataset.import([{ text: "b" }]), { code: "bad-state", message: /is being changed/ });
  const stop = new AbortController();
  const stopped = dataset.import([{ text: "b" }], { if_busy: "wait", signal: stop.signal });
  const waiting = dataset.import([{ text: "c" }], { if_busy: "wait" });
  stop.abort();
  await assert.rejects(stopped, { name: "TabtuneError", code: "cancelled" });
  const finish = () => imports.get("slow")();
  finish();
  assert.equal((await first).rows, 1);
  imports.delete("slow");
  await settled();
  finish();
  assert.equal((await waiting).rows, 1);
  await assert.rejects(dataset.import([], { if_busy: "queue" }), { code: "bad-option", message: /if_busy/ });
});

test("two tabs tokenise one dataset one after the other, and who waits can give up", async () => {
  onPage({ locks: fakeLocks() });
  const { signal } = new AbortController();
  const told = [];
  let finish;
  const first = withTokensOf("mine", signal, () => new Promise((resolve) => (finish = resolve)));
  await settled();
  const second = withTokensOf("mine", signal, async () => told.push("second"));
  const gives_up = new AbortController();
  const third = withTokensOf("mine", gives_up.signal, async () => told.push("third"));
  await withTokensOf("another", signal, async () => told.push("another"));
  gives_up.abort();
  await assert.rejects(third, { name: "TabtuneError", code: "cancelled" });
  assert.deepEqual(told, ["another"]);
  finish();
  await Promise.all([first, second]);
  assert.deepEqual(told, ["another", "second"]);
});

test("the worker ends once nobody has called it for five seconds", async (t) => {
  onPage({ locks: fakeLocks() });
  await settled();
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const turns = () => new Promise((resolve) => setImmediate(resolve));
  const call = async () => {
    let is_done = false;
    const listed = Dataset.list().finally(() => (is_done = true));
    while (!is_done) {
      t.mock.timers.tick(0);
      await turns();
    }
    await listed;
  };
  const before = ended;
  for (let calls = 0; calls < 3; calls++) {
    await call();
    t.mock.timers.tick(4000);
  }
  assert.equal(ended, before, "a call begins the time anew");
  t.mock.timers.tick(1000);
  assert.equal(ended, before + 1);
});
