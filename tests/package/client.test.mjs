// What becomes of calls when a worker hangs, dies or takes its time.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Client } from "../../www/package/build/client.js";
import { playClock } from "./played-clock.mjs";
import { answers, playPage, workers } from "./played-worker.mjs";

playPage();

const PATIENCE = { ping: 0.02, silence: 0.1, grace: 0.1, limit: 0.6 };

/** A client and its worker, which never answers `train_step`. */
function started(patience = PATIENCE) {
  answers.train_step = () => new Promise(() => {});
  answers.counters = () => ({ buffers: 0 });
  const client = Client.inWorker(patience);
  return { client, worker: workers.at(-1) };
}

/** What takes so long by the page's timers, which may be played. */
const after = (millis) => new Promise((resolve) => setTimeout(resolve, millis));

test("a worker that does not answer is ended soon after the caller wants to stop", async (t) => {
  const { during } = playClock(t);
  const { client, worker } = started();
  const controller = new AbortController();
  const step = client.call("train_step", { pipelined: true }, { signal: controller.signal });
  const other = client.call("counters", undefined);
  await other;
  const beside = client.call("train_step", { pipelined: true });
  worker.hangs = true;
  const began = performance.now();
  controller.abort();
  const refused = [assert.rejects(step, { code: "cancelled" }), assert.rejects(beside, { code: "device-lost" }, "nobody asked to stop this one")];
  await during(Promise.all(refused));
  assert.ok(performance.now() - began < 1000);
  assert.ok(worker.is_over && client.closed);
});

test("a worker that is busy and answers pings is waited for", async (t) => {
  const { pass, during } = playClock(t);
  const { client, worker } = started();
  answers.train_step = async () => (await after(300), { step: 1 });
  const controller = new AbortController();
  const step = client.call("train_step", { pipelined: true }, { signal: controller.signal });
  await pass(10);
  controller.abort();
  assert.deepEqual(await during(step), { step: 1 });
  assert.equal(worker.cancelled.length, 1);
  assert.ok(!client.closed);
  client.terminate();
});

test("time that the page slept is no waiting", async (t) => {
  const { pass, during, sleep } = playClock(t);
  const { client, worker } = started({ ...PATIENCE, grace: 1.5, limit: 1.8 });
  answers.train_step = async () => (await after(600), { step: 1 });
  const step = client.call("train_step", { pipelined: true }, { hurries: true });
  await pass(50);
  sleep(3_600_000);
  assert.deepEqual(await during(step), { step: 1 });
  assert.ok(!client.closed);

  // One that hangs is ended all the same.
  answers.train_step = () => new Promise(() => {});
  const hanging = client.call("train_step", { pipelined: true }, { hurries: true });
  worker.hangs = true;
  await during(assert.rejects(hanging, { code: "cancelled" }));
});

test("a call that cannot be sent leaves nothing behind", async (t) => {
  const { pass } = playClock(t);
  const { client, worker } = started();
  worker.postMessage = (request) => structuredClone(request);
  await assert.rejects(client.call("preview", { name: () => {} }), { code: "bad-option", message: /^preview: .*could not be cloned/ });
  delete worker.postMessage;
  await client.call("counters", undefined);
  const { pings } = worker;
  await pass(100);
  assert.equal(worker.pings, pings, "nothing is waited for");
  client.terminate();
});

test("a worker that answers pings and never the call is ended in the end", async (t) => {
  const { during } = playClock(t);
  const { client, worker } = started();
  const began = performance.now();
  await during(assert.rejects(client.call("train_step", { pipelined: true }, { hurries: true }), { code: "cancelled" }));
  assert.ok(performance.now() - began >= 600);
  assert.ok(worker.is_over && worker.pings > 0);
});

test("a worker that ends by itself is noticed at once", async () => {
  const { client, worker } = started();
  const step = client.call("train_step", { pipelined: true });
  await after(5);
  worker.close();
  await assert.rejects(step, { code: "device-lost", message: /has ended by itself/ });
  await assert.rejects(client.call("counters", undefined), { code: "device-lost" });
});

test("a silence is told once, and again when it was broken", async (t) => {
  const { pass } = playClock(t);
  const { client, worker } = started();
  const told = [];
  client.onsilent = (seconds) => told.push(seconds);
  const step = client.call("train_step", { pipelined: true });
  await pass(200);
  assert.deepEqual(told, [], "it answers pings");
  worker.hangs = true;
  await pass(400);
  assert.equal(told.length, 1);
  assert.ok(told[0] >= 0.1);
  worker.hangs = false;
  // An unanswered ping is not repeated; anything else that comes shows that the worker is there.
  await client.call("counters", undefined);
  worker.hangs = true;
  await pass(400);
  assert.equal(told.length, 2);
  client.terminate();
  await assert.rejects(step, { code: "cancelled" });
});

test("an idle worker is not pinged", async (t) => {
  const { pass } = playClock(t);
  const { client, worker } = started();
  await client.call("counters", undefined);
  const { pings } = worker;
  await pass(100);
  assert.equal(worker.pings, pings);
  client.terminate();
});

test("a page that is kept for the way back keeps no worker", async (t) => {
  const window = new EventTarget();
  for (const name of ["addEventListener", "removeEventListener"]) {
    globalThis[name] = window[name].bind(window);
    t.after(() => delete globalThis[name]);
  }
  const { client, worker } = started();
  const step = client.call("train_step", { pipelined: true });
  window.dispatchEvent(Object.assign(new Event("pagehide"), { persisted: false }));
  assert.ok(!worker.is_over, "a page that ends takes its workers along");
  window.dispatchEvent(Object.assign(new Event("pagehide"), { persisted: true }));
  assert.ok(worker.is_over && client.closed);
  await assert.rejects(step, { code: "device-lost" });
});
