// Nodes of ours at a real SuperLink: sums of what they send, records there and back, and a server that is started again.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { paths } from "../../tools/lib/paths.mjs";
import { FleetNode, flat, Identity, memoryIdentities } from "../../www/package/build/federated/wire/index.js";
import { superlink } from "./superlink.mjs";

const APP = join(paths.root, "tests/federated/sums");

let server;
let folder;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "tabtune-sums-"));
  server = await superlink({ app: APP, runConfig: { out: join(folder, "out.json") } });
});

after(async () => {
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const joined = async (options = {}) => {
  const identity = await Identity.of(server.base, memoryIdentities());
  return FleetNode.join(server.base, { identity, heartbeat_interval: 30, ...options });
};

/** Adds to every value, whatever its type. */
const moved = ({ dtype, shape, data }, by) => ({ dtype, shape, data: data.map((value) => value + by) });

/** Does what it is asked until it is told to stop: trains by adding `delta` to every value of every array. */
async function serve(node, { delta, examples, seen = [] }, stop) {
  while (!stop.aborted) {
    const incoming = await node.pull();
    if (incoming === undefined) {
      await sleep(150);
      continue;
    }
    seen.push(incoming);
    await node.reply(incoming, answerTo(incoming, delta, examples));
  }
}

function answerTo({ type, content }, delta, examples) {
  if (type === "query.echo") return { content };
  if (type !== "train") return { failure: { code: 7, reason: `tabtune: nothing is known of "${type}"` } };
  const arrays = Object.fromEntries(Object.entries(content.arrays.arrays).map(([name, array]) => [name, moved(array, delta)]));
  return { content: { arrays: { arrays }, metrics: { metrics: { "num-examples": BigInt(examples), train_loss: delta / 2 } } } };
}

/** Waits for the end of a run; what goes wrong in the nodes meanwhile is told at once. */
const ended = (id, working) => Promise.race([server.ended(id), ...working.map((work) => work.then(() => new Promise(() => {})))]);

test("two nodes, two rounds of FedAvg: sums are exact, records come back, a failure is told", { timeout: 600_000 }, async () => {
  const stop = new AbortController();
  const nodes = [await joined(), await joined()];
  const seen = [];
  const working = [
    serve(nodes[0], { delta: 1, examples: 10, seen }, stop.signal),
    serve(nodes[1], { delta: 3, examples: 30 }, stop.signal),
  ];
  const id = await server.run();
  assert.equal(await ended(id, working), "finished:completed", server.log());
  stop.abort();
  await Promise.all(working);

  const told = JSON.parse(readFileSync(join(folder, "out.json"), "utf8"));
  // (10 * 1 + 30 * 3) / 40 a round.
  assert.deepEqual(told.arrays, { lora_A: [6, 6], lora_B: [5, 5] });
  assert.deepEqual(told.shapes, { lora_A: [1_500_000], lora_B: [3, 2] });
  assert.deepEqual(told.losses, [1.25, 1.25]);
  assert.deepEqual(told.echoes, [true, true]);
  assert.deepEqual(told.fails, [[7, 'tabtune: nothing is known of "query.fail"']]);

  const train = seen.filter(({ type }) => type === "train");
  assert.deepEqual(train.map(({ content }) => content.config.config["server-round"]), [1n, 2n]);
  assert.ok(train[0].bytes > 6_000_000 && train[0].bytes < 6_010_000, String(train[0].bytes));
  const { config } = seen.find(({ type }) => type === "query.echo").content.config;
  assert.deepEqual({ ...config, raw: [...config.raw] }, {
    n: 3n, id: 2n ** 64n - 1n, x: 0.5, yes: true, text: "Grüße", raw: [0, 255], ints: [1n, -2n], texts: ["a", ""],
  });
  // Twice the arrays there and back, and little beside.
  assert.ok(nodes[0].bytes_sent < 12_080_000 && nodes[0].bytes_received < 12_080_000, `${nodes[0].bytes_sent} ${nodes[0].bytes_received}`);
  for (const node of nodes) await node.leave();
});

test("a round goes on after a reload in its middle, and after the server was started again", { timeout: 600_000 }, async (t) => {
  const store = memoryIdentities();
  const enter = async (signal) =>
    FleetNode.join(server.base, { identity: await Identity.of(server.base, store), heartbeat_interval: 30, signal });
  const tab = new AbortController();
  let node = await enter(tab.signal);
  const { node_id } = node;
  t.after(() => node.leave());
  const gate = join(folder, "gate");
  const id = await server.run({ rounds: 1, nodes: 1, gate });
  let head;
  while ((head = await node.receive()) === undefined) await sleep(150);
  // The tab is gone without a word; the next one has what was kept.
  const kept = JSON.parse(JSON.stringify(head));
  tab.abort();
  await assert.rejects(node.receive(), { code: "cancelled" });
  node = await enter();
  assert.equal(node.node_id, node_id);
  assert.equal(await node.receive(), undefined);
  const incoming = await node.open(kept);
  await node.confirm(kept);
  // A tab that is gone in the midst of its reply has announced it, and the next one sends what is missing of the same.
  const made_at = node.identity.now();
  const fetchUntorn = (url, request) => (url.endsWith("push-object") ? Promise.reject(new TypeError("Failed to fetch")) : fetch(url, request));
  const closed = new AbortController();
  const identity = await Identity.of(server.base, store);
  const torn = await FleetNode.join(server.base, { identity, heartbeat_interval: 30, fetch: fetchUntorn, retry: { tries: 1 }, signal: closed.signal });
  await assert.rejects(torn.reply({ metadata: kept, made_at }, answerTo(incoming, 2, 1)), { code: "federation-unreachable", path: "push-object" });
  closed.abort();
  const sent = await node.reply({ metadata: kept, made_at }, answerTo(incoming, 2, 1));
  assert.ok(sent > 6_000_000 && sent < 6_010_000, String(sent));
  await assert.rejects(node.reply({ metadata: kept }, answerTo(incoming, 2, 1)), { code: "federation-expired", path: "push-messages" });
  writeFileSync(gate, "");
  const stop = new AbortController();
  const working = serve(node, { delta: 2, examples: 1 }, stop.signal);
  assert.equal(await ended(id, [working]), "finished:completed", server.log());
  assert.deepEqual(JSON.parse(readFileSync(join(folder, "out.json"), "utf8")).arrays, { lora_A: [3, 3], lora_B: [2, 2] });

  const before = server.pid;
  await server.restart();
  assert.notEqual(server.pid, before);
  const again = await server.run({ rounds: 1, nodes: 1 });
  assert.equal(await ended(again, [working]), "finished:completed", server.log());
  assert.equal(node.node_id, node_id);
  stop.abort();
  await working;
  await node.leave({ unregister: true });
  assert.notEqual((await Identity.of(server.base, store)).pem, node.identity.pem);
});

test("an object that is asked for after its message was confirmed is gone", { timeout: 600_000 }, async () => {
  const node = await joined();
  const id = await server.run({ rounds: 1, nodes: 1 });
  let incoming;
  while ((incoming = await node.pull()) === undefined) await sleep(150);
  await assert.rejects(node.open(incoming.metadata), { code: "federation-expired", path: "pull-object" });
  await node.reply(incoming, { failure: { code: 1, reason: "tabtune: enough" } });
  await server.stopRun(id);
  await assert.rejects(node.open(incoming.metadata), { code: "federation-expired", message: /run that asked has ended/ });
  await node.leave();
});

test("names and numbers of fields in federated/proto are those of flwr", () => {
  const script = `
import json
from google.protobuf import descriptor_pb2
import flwr.proto.fleet_pb2, flwr.proto.heartbeat_pb2, flwr.proto.message_pb2
from google.protobuf import descriptor_pool
def types(message):
    yield message.full_name, {f.name: [f.number, f.type, f.is_repeated] for f in message.fields}
    for nested in message.nested_types: yield from types(nested)
pool = descriptor_pool.Default()
files = ["node", "error", "recorddict", "message", "fleet", "heartbeat"]
all = [pool.FindFileByName(f"flwr/proto/{name}.proto") for name in files]
print(json.dumps({n: f for file in all for m in file.message_types_by_name.values() for n, f in types(m)}))
`;
  const theirs = JSON.parse(execFileSync(join(paths.flower, "bin/python"), ["-c", script], { encoding: "utf8" }));
  const text = readFileSync(join(paths.root, "federated/proto/flower.proto"), "utf8");
  const numbers = { double: 1, uint64: 4, bool: 8, string: 9, message: 11, bytes: 12, sint64: 18 };
  const open = [];
  let fields = 0;
  for (const line of text.split("\n")) {
    const [, message] = /^\s*message (\w+) \{/.exec(line) ?? [];
    const [, repeated, type, name, number] = /^\s*(?:(repeated|optional) )?(\w+) (\w+) = (\d+);/.exec(line) ?? [];
    if (message) open.push(message);
    else if (/^\s*oneof/.test(line)) open.push("");
    if (/\}\s*$/.test(line)) open.pop();
    if (number === undefined) continue;
    const owner = `flwr.proto.${open.filter((part) => part !== "").join(".")}`;
    const [their_number, their_type, their_repeated] = theirs[owner][name];
    const own = type === "bytes" && (name === "children" || name === "message_object_trees") ? "message" : type;
    assert.deepEqual([Number(number), repeated === "repeated"], [their_number, their_repeated], `${owner}.${name}`);
    assert.equal(numbers[own] ?? numbers.message, their_type, `${owner}.${name}`);
    fields += 1;
  }
  assert.ok(fields > 70, String(fields));
});
