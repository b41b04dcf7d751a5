// A node at a server that is played: what it does when the network, the server or the clock fails.
import assert from "node:assert/strict";
import { afterEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { FederationError, FleetNode, Identity, memoryIdentities } from "../../www/package/build/federated/wire/index.js";
import { PullMessagesResponse, PushMessagesResponse } from "../../www/package/build/federated/wire/proto/flower.js";
import { PlayedFleet, protobuf, refusal } from "./played-fleet.mjs";

const nodes = [];

afterEach(async () => {
  for (const node of nodes.splice(0)) await node.leave().catch(() => {});
});

async function enter(fleet, { store = memoryIdentities(), ...options } = {}) {
  const identity = await Identity.of(fleet.base, store);
  const retry = { tries: 4, first_ms: 2, longest_ms: 10 };
  const node = await FleetNode.join(fleet.base, { identity, fetch: fleet.fetch, retry, ...options });
  nodes.push(node);
  return node;
}

const floats = (...values) => ({ dtype: "float32", shape: [values.length], data: new Float32Array(values) });
const CONTENT = { arrays: { arrays: { adapter: floats(1, 2, 3) } }, config: { config: { "server-round": 1n } } };
const ANSWER = { content: { arrays: { arrays: { delta: floats(0.5) } }, metrics: { metrics: { "num-examples": 4n, train_loss: 0.25 } } } };

/** Answers the first `times` calls of a path in another way. */
const failing = (path, times, answer) => (asked, request, count) => (asked === path && count <= times ? answer(request) : undefined);

async function refused(working, code, message, more = {}) {
  const thrown = await working.then(() => assert.fail("it was accepted"), (error) => error);
  assert.ok(thrown instanceof FederationError, String(thrown.stack));
  const { path, status } = thrown;
  assert.deepEqual({ code: thrown.code, path, status }, { code, path: undefined, status: undefined, ...more }, thrown.message);
  assert.match(thrown.message, message);
}

test("a node joins, takes a message, replies and leaves; every byte of bodies is counted", async () => {
  const fleet = new PlayedFleet();
  fleet.together = 2;
  const node = await enter(fleet);
  assert.equal(node.node_id, 2n ** 63n);
  assert.equal(await node.pull(), undefined);
  const id = await fleet.send(CONTENT);
  const incoming = await node.pull();
  assert.deepEqual(structuredClone(incoming.content), CONTENT);
  assert.deepEqual([incoming.type, incoming.metadata.message_id, incoming.objects], ["train", id, 6]);
  assert.equal(incoming.bytes, [...fleet.objects.values()].reduce((sum, { length }) => sum + length, 0));
  assert.ok(node.secondsFor(incoming.metadata) > 590 && node.secondsFor(incoming.metadata) < 600);
  const [before, replied_at] = [node.bytes_sent, Date.now()];
  assert.equal(await node.reply(incoming, ANSWER), node.bytes_sent - before);
  assert.ok(node.last_heard >= replied_at && node.last_heard <= Date.now());

  const { metadata, content } = fleet.replies.get(id).message;
  const { message_id, created_at, ttl, ...rest } = metadata;
  assert.deepEqual(content, {});
  assert.ok(fleet.objects.has(message_id));
  assert.ok(Math.abs(created_at + ttl - incoming.metadata.created_at - incoming.metadata.ttl) < 1e-3);
  assert.deepEqual(rest, {
    run_id: 7n, src_node_id: node.node_id, dst_node_id: 1n, reply_to_message_id: id, group_id: "2", message_type: "train",
    src_task_id: undefined, dst_task_id: 3n,
  });
  const order = fleet.calls.map(({ path }) => path).filter((path, index, paths) => path !== paths[index - 1]);
  assert.deepEqual(order, [
    "register-node", "activate-node", "pull-messages", "pull-object", "confirm-message-received", "push-messages", "push-object",
  ]);
  assert.equal(node.bytes_sent, fleet.calls.reduce((sum, { bytes }) => sum + bytes, 0));
  assert.equal(node.bytes_received, fleet.received);
  assert.ok(fleet.most_at_once > 1 && fleet.most_at_once <= 4, String(fleet.most_at_once));
  assert.ok(fleet.online.has(node.node_id));
  await node.leave();
  assert.ok(!fleet.online.has(node.node_id));
  await assert.rejects(node.pull(), { code: "bad-state", message: /has left/ });
});

test("at most four objects travel at the same time", async () => {
  const fleet = new PlayedFleet();
  fleet.together = 4;
  const node = await enter(fleet);
  const arrays = Object.fromEntries(Array.from({ length: 30 }, (_, index) => [`a${index}`, floats(index)]));
  await fleet.send({ arrays: { arrays } });
  const incoming = await node.pull();
  assert.equal(fleet.most_at_once, 4);
  fleet.most_at_once = 0;
  const more = Object.fromEntries(Object.keys(arrays).map((name, index) => [name, floats(index, 1)]));
  await node.reply(incoming, { content: { more: { arrays: more } } });
  assert.equal(fleet.most_at_once, 4);
});

test("after a reload the node is the same, though the server has it online; heartbeats go on", async (t) => {
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const fleet = new PlayedFleet();
  const store = memoryIdentities();
  const tab = new AbortController();
  const first = await enter(fleet, { store, signal: tab.signal });
  const id = await fleet.send(CONTENT);
  const head = JSON.parse(JSON.stringify(await first.receive()));
  tab.abort();
  await assert.rejects(first.open(head), { code: "cancelled" });
  const node = await enter(fleet, { store, heartbeat_interval: 10 });
  assert.equal(node.node_id, first.node_id);
  assert.deepEqual([fleet.count("register-node"), fleet.count("activate-node"), fleet.count("send-node-heartbeat")], [1, 1, 1]);
  const { content } = await node.open(head);
  assert.deepEqual(structuredClone(content), CONTENT);
  await node.confirm(head);
  await node.reply({ metadata: head }, { failure: { code: 2, reason: "tabtune: cancelled: the tab was closed" } });
  assert.deepEqual(fleet.replies.get(id).message.error, { code: 2n, reason: "tabtune: cancelled: the tab was closed" });
  assert.equal(fleet.replies.get(id).message.content, undefined);
  // One that fails is made up for long before the next is due.
  let failures = 0;
  fleet.fault = (path) => {
    if (path !== "send-node-heartbeat" || failures++ >= 2) return undefined;
    throw new TypeError("Failed to fetch");
  };
  t.mock.timers.tick(3334);
  for (let millis = 0; fleet.count("send-node-heartbeat") < 4; millis++) {
    assert.ok(millis < 3000, "it is not made up for");
    await sleep(1);
    t.mock.timers.tick(1);
  }
  assert.ok(failures >= 2);
});

test("what fails in passing is tried again, for as long as the server asks", async () => {
  const fleet = new PlayedFleet();
  const node = await enter(fleet, { retry: { tries: 4, first_ms: 20, longest_ms: 30 } });
  const failures = [
    () => { throw new TypeError("Failed to fetch"); },
    () => new Response("<html>", { status: 502 }),
    () => refusal(429, undefined, "slow down", { "retry-after": "0" }),
    () => new Response(new ReadableStream({ start: (to) => to.error(new TypeError("terminated")) })),
  ];
  for (const failure of failures) {
    fleet.calls.length = 0;
    fleet.fault = failing("pull-messages", 3, failure);
    assert.equal(await node.pull(), undefined);
    assert.equal(fleet.count("pull-messages"), 4);
  }
  fleet.calls.length = 0;
  fleet.fault = failing("pull-messages", 1, () => refusal(503, undefined, "", { "retry-after": "1" }));
  const began = performance.now();
  await node.pull();
  assert.ok(performance.now() - began > 990);

  const gone = { path: "pull-messages", status: 503 };
  fleet.fault = failing("pull-messages", Infinity, () => refusal(503, undefined, "starting"));
  await refused(node.pull(), "federation-unreachable", /^pull-messages: the server answered 503 \("starting"\) \(tries: 4\)$/, gone);
  fleet.fault = failing("pull-messages", Infinity, () => refusal(503, undefined, "", { "retry-after": "3600" }));
  await refused(node.pull(), "federation-unreachable", /\(tries: 1\)$/, gone);
  fleet.fault = failing("pull-messages", Infinity, failures[0]);
  await refused(node.pull(), "federation-unreachable", /no answer came.*\(tries: 4\)$/, { path: "pull-messages" });
});

test("a wait ends at once when the caller stops", async (t) => {
  // No time goes by for the node, so that it can wait for nothing else.
  t.mock.timers.enable({ apis: ["setTimeout"] });
  const fleet = new PlayedFleet();
  const stop = new AbortController();
  const node = await enter(fleet, { signal: stop.signal });
  await fleet.send(CONTENT);
  fleet.fault = (path) => (path === "pull-object" ? refusal(503, undefined, "", { "retry-after": "200" }) : undefined);
  const working = node.pull();
  while (fleet.count("pull-object") < 4) await sleep(1);
  await sleep(50);
  stop.abort();
  await assert.rejects(working, { code: "cancelled" });
  // An answer that never ends is no other case.
  const hung = new PlayedFleet();
  const other = new AbortController();
  const fetch = async (_address, { signal }) => {
    // Only a request that is under way hears the signal: one that was stopped before is refused by any browser.
    setImmediate(() => other.abort());
    return new Response(new ReadableStream({ start: (to) => signal.addEventListener("abort", () => to.error(signal.reason)) }));
  };
  await assert.rejects(enter(hung, { signal: other.signal, fetch }), { code: "cancelled" });
});

test("a clock that is off goes by the server's", async () => {
  for (const ahead of [3_600_000, -20_000]) {
    const fleet = new PlayedFleet();
    fleet.ahead = ahead;
    const node = await enter(fleet);
    assert.equal(fleet.count("register-node"), 2);
    await fleet.send(CONTENT);
    const incoming = await node.pull();
    const left = node.secondsFor(incoming.metadata);
    assert.ok(left > 590 && left < 603, String(left));
    await node.reply(incoming, ANSWER);
    assert.equal(fleet.count("push-messages"), 1);
  }
  // Where the server tells no time, a person has to.
  const silent = new PlayedFleet();
  silent.ahead = 3_600_000;
  silent.fault = () => refusal(401, undefined, "Invalid SuperNode authentication");
  const place = { path: "register-node", status: 401 };
  await refused(enter(silent), "federation-refused", /status 401 .*set this device's clock.* or have the operator enrol/, place);
  assert.equal(silent.calls.length, 1);
});

test("a server that forgot the node gets it back, as another one", async () => {
  const fleet = new PlayedFleet();
  const store = memoryIdentities();
  const node = await enter(fleet, { store });
  const before = node.node_id;
  fleet.nodes = new Map([["somebody", 5n]]);
  fleet.online.clear();
  const pulls = await Promise.all([node.pull(), node.pull(), node.pull()]);
  assert.deepEqual(pulls, [undefined, undefined, undefined]);
  assert.notEqual(node.node_id, before);
  assert.equal(fleet.count("register-node"), 2);
  assert.equal((await Identity.of(fleet.base, store)).node_id, node.node_id);
});

test("refusals say what a person can do", async () => {
  const closed = new PlayedFleet();
  closed.closed = true;
  const store = memoryIdentities();
  const place = { path: "activate-node", status: 412 };
  await refused(enter(closed, { store }), "federation-refused", /enrolled nodes alone: have the operator enrol/, place);
  closed.nodes.set((await Identity.of(closed.base, store)).pem, 9n);
  assert.equal((await enter(closed, { store })).node_id, 9n);

  const taken = new PlayedFleet();
  const keys = memoryIdentities();
  const { pem } = await Identity.of(taken.base, keys);
  taken.nodes.set(pem, 9n);
  taken.online.add(9n);
  await refused(enter(taken, { store: keys }), "federation-refused", /does not let it in now: try again in 600 s/, place);

  const by_proxy = JSON.stringify({ code: "not-enrolled", message: "send us your key" });
  for (const [answer, message, status] of [
    [() => new Response(by_proxy, { status: 403 }), /403 \("send us your key"\): have the operator enrol/, 403],
    [() => new Response("nothing here", { status: 404 }), /404: is https:\/\/learn.test\/sub the address of a federation/, 404],
    [() => refusal(413, undefined, "too large"), /413 \("too large"\)$/, 413],
    [() => new Response("x".repeat(1 << 16), { status: 400 }), /400$/, 400],
    [() => refusal(400, 1003, "a".repeat(5000)), /400 \("a{400}"…\)$/, 400],
  ]) {
    const fleet = new PlayedFleet();
    fleet.fault = answer;
    await refused(enter(fleet), "federation-refused", message, { path: "register-node", status });
    assert.equal(fleet.calls.length, 1);
  }
  await assert.rejects(enter(new PlayedFleet(), { heartbeat_interval: 5 }), { code: "bad-option", message: /from 10 to 1800/ });
});

test("a message whose time is over is neither fetched nor answered", async (t) => {
  const fleet = new PlayedFleet();
  const node = await enter(fleet);
  await fleet.send(CONTENT);
  const head = await node.receive();
  const incoming = await node.open(head);
  const now = Date.now();
  const { mock: clock } = t.mock.method(Date, "now", () => now + 600_000);
  assert.equal(node.secondsFor(head), 0);
  await refused(node.open(head), "federation-expired", /time for this message is over/);
  await refused(node.reply(incoming, ANSWER), "federation-expired", /time for this message is over, which was 600 s/);
  clock.restore();
  assert.equal(fleet.count("push-messages"), 0);

  const id = await fleet.send(CONTENT);
  const next = await node.receive();
  const objects = new Map(fleet.objects);
  fleet.objects.delete([...fleet.objects.keys()].at(0));
  await refused(node.open(next), "federation-expired", /is gone/, { path: "pull-object" });
  fleet.objects = objects;
  fleet.fault = (path) => (path === "pull-object" ? refusal(403, 2007, "The current run status does not allow it.") : undefined);
  await refused(node.open(next), "federation-expired", /run that asked has ended/, { path: "pull-object", status: 403 });
  fleet.fault = () => undefined;
  await node.reply(await node.open(next), ANSWER);
  assert.ok(fleet.replies.has(id));
  await sleep(5);
  await refused(node.reply({ metadata: next }, ANSWER), "federation-expired", /does not take this reply/, { path: "push-messages" });
});

test("an object that the server is still waiting for is asked for again", async () => {
  const fleet = new PlayedFleet();
  const node = await enter(fleet);
  await fleet.send(CONTENT);
  const answer = fleet["pull-object"];
  const waiting = { object_found: true, object_available: false, object_content: new Uint8Array(0) };
  const asked = [];
  fleet["pull-object"] = (request) => {
    asked.push(request.object_id);
    return asked.filter((id) => id === request.object_id).length < 3 ? waiting : answer.call(fleet, request);
  };
  assert.deepEqual(structuredClone((await node.pull()).content), CONTENT);
  await fleet.send(CONTENT);
  fleet["pull-object"] = () => waiting;
  await refused(node.pull(), "federation-unreachable", /has yet to get object/, { path: "pull-object" });
});

test("answers that are not Flower's are refused, whatever they are", async () => {
  const fleet = new PlayedFleet();
  const node = await enter(fleet, { max_bytes: 100_000 });
  const answers = (path, answer) => {
    fleet.fault = (asked) => (asked === path ? answer() : undefined);
  };
  const pulled = (message) => refused(node.pull(), "federation-protocol", message, { path: "pull-messages", status: 200 });
  answers("pull-messages", () => new Response(new Uint8Array(600_000)));
  await pulled(/more than 524288 bytes/);
  let cancelled = false;
  const endless = () => new ReadableStream({ pull: (to) => to.enqueue(new Uint8Array(100_000)), cancel: () => void (cancelled = true) });
  answers("pull-messages", () => new Response(endless()));
  await pulled(/more than 524288 bytes/);
  assert.ok(cancelled);
  answers("pull-messages", () => new Response(new Uint8Array(10), { headers: { "content-length": "99999999999" } }));
  await pulled(/more than 524288 bytes/);

  const plainly = (message) => refused(node.pull(), "federation-protocol", message);
  answers("pull-messages", () => new Response("<!doctype html>", { headers: { "content-type": "text/html" } }));
  await pulled(/the answer is "text\/html", not application\/protobuf: is https:\/\/learn.test\/sub the address/);
  answers("pull-messages", () => protobuf(new Uint8Array([18, 200])));
  await plainly(/pull-messages cannot be read/);
  await fleet.send(CONTENT);
  const [{ message, tree }] = fleet.messages;
  const given = (messages_list, message_object_trees) => () =>
    protobuf(PullMessagesResponse.encode({ messages_list, message_object_trees }).finish());
  for (const [answer, told] of [
    [given([message, message], [tree, tree]), /2 messages came with 2 trees/],
    [given([message], []), /1 messages came with 0 trees/],
    [given([{ ...message, metadata: undefined }], [tree]), /no metadata/],
    [given([{ ...message, metadata: { ...message.metadata, message_id: "a" } }], [tree]), /id is not that of its objects/],
    [given([{ ...message, metadata: { ...message.metadata, message_type: "a".repeat(2000) } }], [tree]), /too long a text/],
    [given([{ ...message, metadata: { ...message.metadata, ttl: Infinity } }], [tree]), /no number/],
    [given([message], [new Uint8Array([18, 200])]), /cannot be read/],
  ]) {
    answers("pull-messages", answer);
    await plainly(told);
  }

  fleet.fault = () => undefined;
  const [id] = fleet.objects.keys();
  const bytes = fleet.objects.get(id);
  fleet.objects.set(id, new Uint8Array([...bytes.slice(0, -1), 1]));
  await refused(node.pull(), "federation-protocol", /came as another one/, { path: "pull-object" });
  await fleet.send({ arrays: { arrays: { adapter: floats(...new Float32Array(30_000)) } } });
  await plainly(/more than the 100000 bytes/);

  await fleet.send(CONTENT);
  const incoming = await node.pull();
  const session_id = "s";
  answers("push-messages", () => protobuf(PushMessagesResponse.encode({ objects_to_push: ["b".repeat(64)], session_id }).finish()));
  await refused(node.reply(incoming, ANSWER), "federation-protocol", /asks for an object that the reply has not/, { path: "push-messages" });
  const none = new PlayedFleet();
  none.fault = (path) => (path === "activate-node" ? protobuf(new Uint8Array(0)) : undefined);
  await refused(enter(none), "federation-protocol", /gave this node no id/, { path: "activate-node" });
});

test("what the cache has is not fetched again, unless it is something else", async () => {
  const fleet = new PlayedFleet();
  const cache = new Map();
  const node = await enter(fleet, { cache });
  const frozen = floats(...new Float32Array(5000).map((_, index) => index));
  const sent = (round) => ({ frozen: { arrays: { adapter: frozen } }, config: { config: { "server-round": round } } });
  await fleet.send(sent(1n));
  const first = await node.pull();
  await fleet.send(sent(2n));
  const second = await node.pull();
  assert.ok(first.bytes > 20_000 && second.bytes < 1000, `${first.bytes} ${second.bytes}`);
  assert.deepEqual(structuredClone(second.content), sent(2n));
  const [chunk] = [...cache].find(([, bytes]) => bytes.length > 20_000);
  cache.set(chunk, new Uint8Array(8));
  await fleet.send(sent(3n));
  const third = await node.pull();
  assert.deepEqual(structuredClone(third.content), sent(3n));
  assert.ok(third.bytes > 20_000);
  assert.ok(cache.get(chunk).length > 20_000);
});

test("a reply arrives though answers to its objects are lost", async () => {
  const fleet = new PlayedFleet();
  const node = await enter(fleet);
  await fleet.send(CONTENT);
  const incoming = await node.pull();
  const store = fleet["push-object"];
  let lost = 0;
  fleet["push-object"] = async (request) => {
    const answer = await store.call(fleet, request);
    if (lost++ < 2) throw new TypeError("Failed to fetch");
    return answer;
  };
  const sent = await node.reply(incoming, ANSWER);
  assert.equal(fleet.count("push-messages"), 2);
  assert.equal(sent, fleet.calls.filter(({ path }) => path.startsWith("push")).reduce((sum, { bytes }) => sum + bytes, 0));
  assert.equal(fleet.missing.size, 0);

  await fleet.send(CONTENT, { group_id: "3" });
  const next = await node.pull();
  fleet["push-object"] = () => ({ stored: false });
  await refused(node.reply(next, ANSWER), "federation-unreachable", /did not store a reply's objects \(tries: 3\)/, { path: "push-object" });
});

test("leaving for good takes the key away, here and there", async () => {
  const fleet = new PlayedFleet();
  const store = memoryIdentities();
  const node = await enter(fleet, { store });
  await node.leave({ unregister: true });
  await node.leave();
  assert.deepEqual([fleet.count("deactivate-node"), fleet.count("unregister-node")], [1, 1]);
  assert.notEqual((await Identity.of(fleet.base, store)).pem, node.identity.pem);
  // A server that does not answer keeps nobody.
  const other = new PlayedFleet();
  const left = await enter(other);
  other.fault = () => { throw new TypeError("Failed to fetch"); };
  await left.leave();
});
