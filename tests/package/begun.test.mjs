// Runs that came to nothing, as the page notes them, without a browser.
import assert from "node:assert/strict";
import { before, beforeEach, test } from "node:test";
import { studio } from "./page-modules.mjs";
import { setGlobal } from "./played-storage.mjs";

/** The names of locks that are held, of all tabs. */
const held = new Set();
const locks = {
  async request(name, work) {
    held.add(name);
    return Promise.resolve(work()).finally(() => held.delete(name));
  },
  query: async () => ({ held: [...held].map((name) => ({ name })) }),
};

/** Names are its own properties, as those of a browser are. */
class Storage {
  getItem(name) {
    return this[name] ?? null;
  }
  setItem(name, value) {
    this[name] = value;
  }
  removeItem(name) {
    delete this[name];
  }
}

let begunOf, begunRuns;

before(async () => {
  setGlobal("navigator", { locks });
  ({ begunOf, begunRuns } = await studio("library/begun.ts"));
});

beforeEach(() => {
  setGlobal("localStorage", new Storage());
  held.clear();
});

const config = { quantization: {}, lora: { r: 8 }, train: { max_steps: 60 } };
const asks = { questions: [{ text: "Open?", system: null, continues: false }], made: {} };

/** A run as it is ordered. */
function orderOf(id, more = {}) {
  const rows = { dataset: { name: "fragen.csv" }, heldout: undefined, is_chat: true, count: 28, question: null };
  return { id, name: "fragen.csv", model: { name: { kind: "hub", name: "a/b" }, source: "a/b", hub: { token: "hf_secret" } }, rows, config, policy: false, ...more };
}

/** A page that has begun a run, and goes away in the middle. */
function leaveAt(begun) {
  void begunRuns.during(begun, () => new Promise(() => undefined));
  return new Promise((resolve) => setTimeout(() => resolve(held.delete(`tabtune:begun:${begun.id}`))));
}

const left = async (kept = []) => (await begunRuns.left(new Set(kept))).map(({ id }) => id);

test("a run is noted as it was ordered from before its first step, and no longer once it has ended", async () => {
  const order = orderOf("one", { asks });
  await begunRuns.during(begunOf(order), async () => {
    const [noted, ...others] = Object.values(localStorage).map((text) => JSON.parse(text));
    const { date, ...told } = noted;
    assert.deepEqual(others, []);
    assert.ok(Math.abs(Date.now() - date) < 60_000);
    const rows = { dataset: "fragen.csv", heldout: null, is_chat: true, count: 28 };
    assert.deepEqual(told, { version: 1, id: "one", name: "fragen.csv", model: { kind: "hub", name: "a/b" }, config, rows, question: null, asks }, "no token is among it");
    assert.deepEqual(await left(), [], "it may come to something yet");
  });
  await assert.rejects(begunRuns.during(begunOf(order), () => Promise.reject(new Error("no room"))), /no room/);
  assert.deepEqual([Object.keys(localStorage), await left()], [[], []], "of what failed the person was told");
});

test("what a page left in the middle has come to nothing, but for what was saved or another tab is at work on", async () => {
  await leaveAt(begunOf(orderOf("gone")));
  await leaveAt({ ...begunOf(orderOf("later", { config: { ...config, lora: {} } })), date: Date.now() + 1000 });
  await leaveAt(begunOf(orderOf("saved", { name: "saved", model: { name: { kind: "bundled", name: "" } } })));
  assert.deepEqual(await left(["saved"]), ["later", "gone"]);
  assert.deepEqual(await left(), ["later", "gone"], "what was saved is not said to be gone once it is deleted");
  held.add("tabtune:begun:later");
  assert.deepEqual(await left(["later"]), ["gone"]);
  held.clear();
  assert.deepEqual(await left(), ["later", "gone"], "the other tab went away, too");
  begunRuns.forget("later");
  assert.deepEqual(await left(), ["gone"]);
});

test("what is begun anew is forgotten, however that ends, and other runs are not", async () => {
  await leaveAt(begunOf(orderOf("first")));
  await leaveAt(begunOf(orderOf("other", { rows: { ...orderOf("").rows, dataset: { name: "other.csv" } } })));
  await leaveAt(begunOf(orderOf("second")));
  assert.deepEqual((await left()).sort(), ["other", "second"], "the same has come to nothing twice, and is told once");
  await begunRuns.during(begunOf(orderOf("third")), async () => undefined);
  assert.deepEqual(await left(), ["other"]);
});

test("what came to nothing is begun anew with its rows, whatever they are called by then", async () => {
  const rows = { ...orderOf("").rows, heldout: { name: "fragen.csv, held out" } };
  await leaveAt(begunOf(orderOf("one", { rows })));
  await leaveAt(begunOf(orderOf("other", { rows: { ...rows, dataset: { name: "other.csv" } } })));
  for (const name of ["fragen.csv", "fragen.csv, held out"]) begunRuns.renameRows(name, `neue ${name}`);
  const found = await begunRuns.left(new Set());
  assert.deepEqual(Object.fromEntries(found.map(({ id, rows: { dataset, heldout } }) => [id, [dataset, heldout]])), {
    one: ["neue fragen.csv", "neue fragen.csv, held out"],
    other: ["other.csv", "neue fragen.csv, held out"],
  });
});

test("what is damaged goes away, and what a later page has noted stays", async () => {
  localStorage.setItem("tabtune:begun:damaged", "{");
  const later = JSON.stringify({ version: 2, id: "later" });
  localStorage.setItem("tabtune:begun:later", later);
  assert.deepEqual(await left(), []);
  assert.deepEqual({ ...localStorage }, { "tabtune:begun:later": later });
  localStorage.setItem = () => {
    throw new DOMException("full", "QuotaExceededError");
  };
  let is_done = false;
  await begunRuns.during(begunOf(orderOf("one")), async () => void (is_done = true));
  assert.ok(is_done, "a run needs no note");
});
