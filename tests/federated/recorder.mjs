// What stands between clients and a federation in tests: it passes everything on and keeps it, so that a test can read all that left.
import { createServer, request } from "node:http";
import { ObjectSet, openTree } from "../../www/package/build/federated/wire/objects.js";
import { headOf, openMessage } from "../../www/package/build/federated/wire/message.js";
import { PullMessagesResponse, PullObjectRequest, PullObjectResponse, PushMessagesRequest, PushObjectRequest } from "../../www/package/build/federated/wire/proto/flower.js";

/** Passes requests on to `target`; gives `base`, the address to use instead, and `calls`, each { path, key, sent, status, received }. */
export async function recorder(t, target) {
  const calls = [];
  const server = createServer(async (asked, answered) => {
    const sent = await whole(asked);
    const { method, headers, url } = asked;
    const passed = request(new URL(url, target), { method, headers }, async (response) => {
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

/**
 * The messages that a client has replied with, in their order: { type, to, content }. Objects that are the same are sent by one client
 * alone, so those of `everyone` are looked at.
 */
export async function repliesOf(calls, everyone = calls) {
  const objects = new ObjectSet(MOST);
  for (const { path, sent } of everyone) {
    if (path !== "push-object") continue;
    const { object_id, object_content } = PushObjectRequest.decode(sent);
    await objects.add(object_id, object_content);
  }
  const pushed = calls.filter(({ path, status }) => path === "push-messages" && status === 200);
  return pushed.map(({ sent }) => {
    const { messages_list, message_object_trees } = PushMessagesRequest.decode(sent);
    const [message] = messages_list;
    const { message_type: type, reply_to_message_id: to } = message.metadata;
    const head = headOf(message, openTree(message_object_trees[0]));
    return { type, to, error: message.error, content: message.error ? undefined : openMessage(head, objects) };
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
