// What stands between clients and a federation in tests: it passes everything on and keeps it, so that a test can read all that left.
import assert from "node:assert/strict";
import { createServer, request } from "node:http";
import { ObjectMaker } from "../../www/package/build/federated/wire/content.js";
import { headOf, openMessage } from "../../www/package/build/federated/wire/message.js";
import { idsOf, ObjectSet, openObject, openTree, treeBytes } from "../../www/package/build/federated/wire/objects.js";
import * as proto from "../../www/package/build/federated/wire/proto/flower.js";

const { PullMessagesResponse, PullObjectRequest, PullObjectResponse, PushMessagesRequest, PushObjectRequest } = proto;

/** Passes requests on to `target`; gives `base`, the address to use instead, and `calls`, each { path, key, sent, status, received }. */
export async function recorder(t, target) {
  const calls = [];
  const server = createServer(async (asked, answered) => {
    const sent = await whole(asked);
    const { method, headers, url } = asked;
    // A connection of its own for each: one that is kept may be closed by the other side at the very moment that it is used again.
    const passed = request(new URL(url, target), { method, headers, agent: false }, async (response) => {
      const received = await whole(response);
      if (method === "POST") {
        const key = headers["flwr-public-key"];
        calls.push({ path: url.split("/").at(-1), key, sent, headers, status: response.statusCode, received });
      }
      answered.writeHead(response.statusCode, response.headers).end(received);
    });
    passed.on("error", () => answered.destroy());
    passed.end(sent);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => server.close());
  return { base: `http://127.0.0.1:${server.address().port}`, calls };
}

async function whole(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}

const MOST = 2 ** 28;

const pushedIn = (calls) => calls.filter(({ path }) => path === "push-object").map(({ sent }) => PushObjectRequest.decode(sent));

/**
 * The replies that a client has announced, each once: those that are `whole`, all of whose objects have left, and those that are `broken`
 * off, as where the server or the tab ended before they had. Objects that are the same are sent by one client alone, so those of
 * `everyone` are looked at.
 */
function announcedIn(calls, everyone) {
  const there = new Set(pushedIn(everyone).map(({ object_id }) => object_id));
  const is_whole = (tree) => there.has(tree.id) && tree.children.every(is_whole);
  const announced = new Map();
  for (const { path, status, sent } of calls) {
    if (path !== "push-messages" || status !== 200) continue;
    const { messages_list, message_object_trees } = PushMessagesRequest.decode(sent);
    announced.set(messages_list[0].metadata.message_id, { message: messages_list[0], tree: openTree(message_object_trees[0]) });
  }
  const all = [...announced.values()];
  return { whole: all.filter(({ tree }) => is_whole(tree)), broken: all.filter(({ tree }) => !is_whole(tree)) };
}

/** The messages that a client has replied with, in their order: { type, to, content }; `everyone` as above. */
export async function repliesOf(calls, everyone = calls) {
  const objects = new ObjectSet(MOST);
  for (const { object_id, object_content } of pushedIn(everyone)) await objects.add(object_id, object_content);
  return announcedIn(calls, everyone).whole.map(({ message, tree }) => {
    const { message_type: type, reply_to_message_id: to } = message.metadata;
    return { type, to, error: message.error, content: message.error ? undefined : openMessage(headOf(message, tree), objects) };
  });
}

/** The messages that a client has got, in their order: { type, id, content }. */
export async function messagesFor(calls) {
  const objects = new ObjectSet(MOST);
  const there = new Set();
  for (const { path, sent, received, status } of calls) {
    if (path !== "pull-object" || status !== 200) continue;
    const { object_available, object_content } = PullObjectResponse.decode(received);
    if (!object_available) continue;
    const { object_id } = PullObjectRequest.decode(sent);
    await objects.add(object_id, object_content);
    there.add(object_id);
  }
  const heads = calls
    .filter(({ path, status }) => path === "pull-messages" && status === 200)
    .map(({ received }) => PullMessagesResponse.decode(received))
    .filter(({ messages_list }) => messages_list.length > 0)
    .map(({ messages_list, message_object_trees }) => headOf(messages_list[0], openTree(message_object_trees[0])));
  // A client that is killed may have been given a message that it has not fetched.
  const is_whole = (tree) => there.has(tree.id) && tree.children.every(is_whole);
  const fetched = heads.filter(({ tree }) => is_whole(tree));
  return fetched.map((head) => ({ type: head.message_type, id: head.message_id, content: openMessage(head, objects) }));
}

/**
 * What a client has sent from each message to train up to the next one, in bytes of the requests' bodies:
 * { round, bytes, polls }, of which `polls` are questions whether there is a message.
 */
export function sentByRound(calls) {
  const rounds = [];
  for (const { path, sent, status, received } of calls) {
    const { messages_list } = path === "pull-messages" && status === 200 ? PullMessagesResponse.decode(received) : { messages_list: [] };
    const last = rounds.at(-1);
    if (last) last.bytes += sent.length;
    if (last && path === "pull-messages") last.polls += sent.length;
    // The number of the round is the message's group.
    const [metadata] = messages_list.map(({ metadata }) => metadata);
    if (metadata?.message_type === "train") rounds.push({ round: Number(metadata.group_id), bytes: 0, polls: 0 });
  }
  // Nothing ends the last one.
  return rounds.slice(0, -1);
}

/** The calls that a client makes, each with what its body is. */
const REQUESTS = {
  "register-node": proto.RegisterNodeFleetRequest,
  "activate-node": proto.ActivateNodeRequest,
  "deactivate-node": proto.DeactivateNodeRequest,
  "unregister-node": proto.UnregisterNodeFleetRequest,
  "send-node-heartbeat": proto.SendNodeHeartbeatRequest,
  "pull-messages": proto.PullMessagesRequest,
  "pull-object": proto.PullObjectRequest,
  "confirm-message-received": proto.ConfirmMessageReceivedRequest,
  "push-messages": proto.PushMessagesRequest,
  "push-object": proto.PushObjectRequest,
};

/** What a reply says to each question: names of records with the names in them, sorted. */
function sayings({ delta_dtype = "f32", privacy }) {
  const train = { metrics: ["num-examples", "steps", "train_loss"], arrays: delta_dtype === "nf4" ? ["delta", "scales"] : ["delta"] };
  return {
    "query.layout": { layout: ["cols", "frozen_cols", "frozen_names", "frozen_rows", "names", "num-examples", "rows"] },
    "query.done": { metrics: ["num-examples"] },
    train: privacy?.mask ? { metrics: ["steps"] } : train,
    evaluate: { metrics: ["eval_loss", "num-examples"] },
    "query.keys": { keys: ["encrypt", "identity", "mask", "signature"] },
    "query.shares": { shares: ["ids", "sealed"] },
    "query.masked": { arrays: ["masked"] },
    "query.unmask": { unmask: ["key_ids", "key_shares", "self_ids", "self_shares"] },
  };
}

/** Longer than a word that headers have too, and short enough that a part of a text gives itself away. Shorter texts are not looked for. */
const PIECE_CHARACTERS = 16;

/** The ways in which pieces of a text may stand among bytes. */
function* tracesOf(text) {
  for (let at = 0; at + PIECE_CHARACTERS <= text.length; at += PIECE_CHARACTERS) {
    const piece = text.slice(at, at + PIECE_CHARACTERS);
    const wide = Buffer.from(piece, "utf16le");
    yield* [Buffer.from(piece), wide, Buffer.from(wide).swap16()];
  }
}

/**
 * Holds a client to the terms: its calls are of Flower's and have no more in them than the fields that Flower knows; what it has
 * pushed are replies to the server's questions, each of the records that it may have, with their names, and not an object or a byte
 * besides; and no piece of `texts` is in any body or header, in UTF-8 or UTF-16. `everyone` is as for `repliesOf`. So many replies may
 * have `broken` off.
 */
export async function expectOnly(calls, { terms, texts, everyone, broken = 0 }) {
  assert.ok(texts.some((text) => text.length >= PIECE_CHARACTERS), "there is a text to be looked for");
  for (const { path, sent } of calls) {
    assert.ok(Object.hasOwn(REQUESTS, path), `${path} is no call of a client`);
    const request = REQUESTS[path].decode(sent);
    const trees = request.message_object_trees?.map((tree) => treeBytes(openTree(tree)));
    const again = REQUESTS[path].encode({ ...request, ...(trees && { message_object_trees: trees }) }).finish();
    assert.ok(sent.equals(again), `a call to ${path} has fields besides Flower's`);
  }
  await expectReplies(calls, { said: sayings(terms), everyone, broken });
  const said = Buffer.concat(calls.flatMap(({ sent, headers }) => [sent, Buffer.from(JSON.stringify(headers))]));
  for (const text of texts) for (const trace of tracesOf(text)) assert.ok(!said.includes(trace), `a piece of a text has left: ${trace}`);
}

async function expectReplies(calls, { said, everyone, broken }) {
  const pushed = pushedIn(calls);
  const made = new Set();
  const broken_off = announcedIn(calls, everyone).broken;
  assert.ok(broken_off.length <= broken, `${broken_off.length} replies broke off`);
  for (const { message, tree } of broken_off) {
    assert.ok(Object.hasOwn(said, message.metadata.message_type), `${message.metadata.message_type} is no question`);
    for (const id of idsOf(tree)) made.add(id);
  }
  for (const { type, content, error } of await repliesOf(calls, everyone)) {
    assert.ok(Object.hasOwn(said, type), `${type} is no question`);
    if (error) {
      assert.match(error.reason, /^tabtune: [a-z-]+: /, "a refusal has a code of ours");
      continue;
    }
    const names = (record) => Object.keys(Object.values(record)[0]).sort();
    const has = Object.fromEntries(Object.entries(content).map(([name, record]) => [name, names(record)]));
    assert.deepEqual(has, said[type], `what is replied to ${type}`);
    // The same names and values, made anew, give the same objects: there is nothing in them besides.
    const maker = new ObjectMaker();
    await maker.content(content);
    for (const id of maker.objects.keys()) made.add(id);
  }
  for (const { object_id, object_content } of pushed.filter(({ object_id }) => !made.has(object_id))) {
    const { type, body } = openObject(object_id, object_content);
    assert.equal(type, "Message", "an object that is part of no reply");
    assert.ok(Buffer.from(body).equals(proto.Message.encode(proto.Message.decode(body)).finish()), "a message has fields besides Flower's");
  }
}
