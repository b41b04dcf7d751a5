// All that a client sends: how many bytes a round takes by the type of its deltas, and that nothing else is among them.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { paths } from "../../tools/lib/paths.mjs";
import { deltaBytes } from "../../www/package/build/federated/terms.js";
import { ObjectMaker } from "../../www/package/build/federated/wire/content.js";
import { headOf, replyTo } from "../../www/package/build/federated/wire/message.js";
import { openTree } from "../../www/package/build/federated/wire/objects.js";
import { PullMessagesResponse, PushMessagesRequest, PushObjectRequest } from "../../www/package/build/federated/wire/proto/flower.js";
import { APP, layoutFor, modulesOfTiny, playedRun, sizeOf } from "./played-run.mjs";
import { expectOnly, recorder, sentByRound } from "./recorder.mjs";
import { superlink } from "./superlink.mjs";

let link;

before(async () => {
  link = await superlink({ app: APP, in_memory: true });
});

after(() => link?.stop());

/** Every text of the bundled rows. */
const ROWS = readFileSync(paths.data, "utf8").trim().split("\n").map((line) => JSON.parse(line));
const TEXTS = ROWS.flatMap(({ messages }) => messages.map(({ content }) => content));

/** The calls of all clients of this file, whose replies may be alike. */
const everyone = [];

/** Of what the values take in f32, the part that a round may take in each type. */
const SHARES = { f32: 1.05, f16: 1.05 / 2, nf4: 1.05 / 8 };

/** A run of one client with the bundled model's adapter; gives all its calls and its size. */
async function recorded(t, more, r) {
  const layout = layoutFor(modulesOfTiny(), r);
  const record = await recorder(t, link.base);
  const terms = { lora: { r, lora_alpha: 2 * r, target_modules: "all-linear" }, min_clients: 1, ...more };
  // A tab asks less often.
  const run = await playedRun(link, terms, [{ base: record.base, layout, poll_ms: 1000, keeps: false }]);
  t.after(() => run.stop());
  await run.over;
  everyone.push(...record.calls);
  const [{ terms: held_to }] = run.clients;
  return { calls: record.calls, terms: held_to, size: sizeOf(layout) };
}

test("a round takes the bytes of its delta and little more, and nothing else leaves", { timeout: 600_000 }, async (t) => {
  // What is around the values is too much for 4 bits of those of rank 8; adapters of larger models have more.
  const ranks = { f32: 8, f16: 8, nf4: 64 };
  const runs = await Promise.all(Object.entries(ranks).map(([delta_dtype, r]) => recorded(t, { delta_dtype }, r)));
  for (const { calls, terms, size } of runs) {
    const { delta_dtype } = terms;
    await expectOnly(calls, { terms, texts: TEXTS, everyone });
    const rounds = sentByRound(calls);
    assert.deepEqual(rounds.map(({ round }) => round), [1, 2]);
    const values = deltaBytes(size, terms);
    for (const { round, bytes, polls } of rounds) {
      const share = bytes / (4 * size);
      // What is around the values takes as much whatever their number, so from so many on the bound holds.
      const around = bytes - values;
      const from = Math.ceil(around / (4 * SHARES[delta_dtype] - values / size));
      const told = `${bytes} bytes for ${size} values, ${(100 * share).toFixed(2)} % of f32`;
      t.diagnostic(`${delta_dtype}, round ${round}: ${told}, ${around} around them (${polls} to poll); holds from ${from} values on`);
      assert.ok(share <= SHARES[delta_dtype]);
    }
  }
});

/** A call as the recorder keeps it. */
const call = (path, Request, request) => ({ path, status: 200, headers: {}, sent: Buffer.from(Request.encode(request).finish()) });

const node = { node_id: 1n };

/** The calls that push objects. */
const pushing = (objects) =>
  Array.from(objects, ([object_id, object_content]) => {
    return call("push-object", PushObjectRequest, { node, run_id: 1n, object_id, object_content, session_id: "" });
  });

/** The calls by which a client would reply this to the first message that it got. */
async function replying(calls, content) {
  const answers = calls.filter(({ path }) => path === "pull-messages").map(({ received }) => PullMessagesResponse.decode(received));
  const { messages_list, message_object_trees } = answers.find(({ messages_list }) => messages_list.length > 0);
  const head = headOf(messages_list[0], openTree(message_object_trees[0]));
  const { message, tree, objects } = await replyTo(head, { content }, Date.now());
  const push = { node, messages_list: [message], message_object_trees: [tree] };
  return [...pushing(objects), call("push-messages", PushMessagesRequest, push)];
}

test("whatever else would leave is noticed", { timeout: 600_000 }, async (t) => {
  const record = await recorder(t, link.base);
  const layout = layoutFor({ "model.layers.0.self_attn.q_proj": [8, 8] }, 4);
  const run = await playedRun(link, { min_clients: 1, rounds: 1 }, [{ base: record.base, layout }]);
  t.after(() => run.stop());
  await run.over;
  const { calls } = record;
  const of = { terms: run.clients[0].terms, texts: TEXTS };
  const held = (calls) => expectOnly(calls, { ...of, everyone: [...everyone, ...calls] });
  await held(calls);
  const [text] = TEXTS;
  const refused = (more, why) => assert.rejects(held([...calls, ...more]), why);

  const known = calls.find(({ path }) => path === "push-messages");
  // Field 15, bytes.
  await refused([{ ...known, sent: Buffer.concat([known.sent, Buffer.from([122, 3, 1, 2, 3])]) }], /fields besides Flower's/);
  await refused([{ ...known, path: "telemetry" }], /is no call of a client/);
  await refused([{ ...known, headers: { cookie: text } }], /a piece of a text has left/);
  const lists = { rows: [], cols: [], frozen_names: [], frozen_rows: [], frozen_cols: [] };
  const layouts = (names, more) => ({ layout: { config: { ...lists, "num-examples": 8n, names, ...more } } });
  for (const encoding of ["utf8", "utf16le"]) {
    await refused(await replying(calls, layouts([Buffer.from(text, encoding)])), /a piece of a text has left/);
  }
  await refused(await replying(calls, layouts([], { note: 1n })), /what is replied to query.layout/);
  const maker = new ObjectMaker();
  await maker.content({ notes: { metrics: { note: 1n } } });
  await refused(pushing(maker.objects), /part of no reply/);
});
