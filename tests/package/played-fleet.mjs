// The Fleet API of Flower 1.42, played: what a SuperLink keeps of nodes, messages and objects, and faults on demand.
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import { ObjectMaker } from "../../www/package/build/federated/wire/content.js";
import { verify } from "../../www/package/build/federated/wire/identity.js";
import { idOf, treeBytes } from "../../www/package/build/federated/wire/objects.js";
import * as proto from "../../www/package/build/federated/wire/proto/flower.js";

const CALLS = {
  "register-node": ["RegisterNodeFleetRequest", "RegisterNodeFleetResponse"],
  "activate-node": ["ActivateNodeRequest", "ActivateNodeResponse"],
  "deactivate-node": ["DeactivateNodeRequest"],
  "unregister-node": ["UnregisterNodeFleetRequest"],
  "send-node-heartbeat": ["SendNodeHeartbeatRequest", "SendNodeHeartbeatResponse"],
  "pull-messages": ["PullMessagesRequest", "PullMessagesResponse"],
  "pull-object": ["PullObjectRequest", "PullObjectResponse"],
  "confirm-message-received": ["ConfirmMessageReceivedRequest"],
  "push-messages": ["PushMessagesRequest", "PushMessagesResponse"],
  "push-object": ["PushObjectRequest", "PushObjectResponse"],
};

/** How often one that came is held back for others that do not come. */
const MOST_WAITS = 5000;

const BASE = "https://learn.test/sub";

export const refusal = (status, code, detail, headers = {}) => new Response(JSON.stringify({ code, detail }), { status, headers });

export const protobuf = (bytes, headers = {}) => new Response(bytes, { headers: { "content-type": "application/protobuf", ...headers } });

export class PlayedFleet {
  base = BASE;
  /** { path, request, bytes } of every call that came. */
  calls = [];
  /** Called before a call is answered; what it gives is the answer. */
  fault = () => undefined;
  /** Milliseconds that the server's clock is ahead. */
  ahead = 0;
  /** Only the operator registers keys. */
  closed = false;
  received = 0;
  most_at_once = 0;
  /** How many objects are waited for before the first that travels is answered, so that those that may travel together do. */
  together = 1;
  /** Node ids by public keys. */
  nodes = new Map();
  online = new Set();
  messages = [];
  objects = new Map();
  /** Replies by the id of what they reply to: { message, tree }. */
  replies = new Map();
  missing = new Map();
  #open = 0;

  /** The number of calls of a path. */
  count(path) {
    return this.calls.filter((call) => call.path === path).length;
  }

  fetch = async (address, { method, headers, body, signal, ...rest }) => {
    const path = address.slice(`${BASE}/v1/fleet/`.length);
    assert.equal(address, `${BASE}/v1/fleet/${path}`);
    assert.deepEqual([method, headers["content-type"]], ["POST", "application/protobuf"]);
    assert.deepEqual(rest, { credentials: "omit", referrerPolicy: "no-referrer", cache: "no-store", redirect: "error" });
    const [asked, answered] = CALLS[path];
    const request = proto[asked].decode(body);
    this.calls.push({ path, request, bytes: body.length });
    this.#open += 1;
    this.most_at_once = Math.max(this.most_at_once, this.#open);
    try {
      // So that calls at the same time are there at the same time, however long each takes to be signed.
      for (let waits = 0; waits < MOST_WAITS && path.endsWith("-object") && this.most_at_once < this.together; waits++) {
        await sleep(1, undefined, { signal });
      }
      await sleep(1, undefined, { signal });
      const fault = await this.fault(path, request, this.count(path));
      const response = fault ?? (await this.#answer(path, request, headers, answered));
      if (response.ok) this.received += Number(response.headers.get("x-bytes") ?? 0);
      return response;
    } finally {
      this.#open -= 1;
    }
  };

  async #answer(path, request, headers, answered) {
    const refused = await this.#refused(path, request, headers);
    if (refused) return refused;
    const given = await this[path](request, Buffer.from(headers["flwr-public-key"], "base64").toString());
    if (given instanceof Response) return given;
    const bytes = answered ? proto[answered].encode(given).finish() : new Uint8Array(0);
    return protobuf(bytes, { "x-bytes": String(bytes.length) });
  }

  /** As superlink/routers/fleet/node_auth.py does. */
  async #refused(path, request, headers) {
    const pem = Buffer.from(headers["flwr-public-key"], "base64").toString();
    const timestamp = headers["flwr-timestamp"];
    const now = Date.now() + this.ahead;
    const age = now - Date.parse(timestamp);
    const signature = Buffer.from(headers["flwr-signature"], "base64");
    const entering = path === "register-node" || path === "activate-node";
    const known = entering
      ? Buffer.from(request.public_key).toString() === pem
      : this.nodes.get(pem) === (request.node ?? request).node_id;
    if (age > -5000 && age < 305_000 && known && (await verify(pem, new TextEncoder().encode(timestamp), signature))) return undefined;
    return refusal(401, undefined, "Invalid SuperNode authentication", { date: new Date(now).toUTCString() });
  }

  "register-node"(_request, pem) {
    if (this.closed) return refusal(412, 2001, "SuperNode authentication is enabled.");
    if (this.nodes.has(pem)) return refusal(412, 23, "Public key already in use.");
    const node_id = 2n ** 63n + BigInt(this.nodes.size);
    this.nodes.set(pem, node_id);
    return { node_id };
  }

  "activate-node"({ heartbeat_interval }, pem) {
    const node_id = this.nodes.get(pem);
    if (heartbeat_interval < 10 || heartbeat_interval > 1800) return refusal(400, 2003, "Invalid heartbeat interval.");
    if (node_id === undefined || this.online.has(node_id)) return refusal(412, 2004, "Failed to activate SuperNode.");
    this.online.add(node_id);
    return { node_id };
  }

  "deactivate-node"({ node_id }) {
    return this.online.delete(node_id) ? {} : refusal(412, 2005, "Failed to deactivate SuperNode.");
  }

  "unregister-node"() {
    return {};
  }

  "send-node-heartbeat"({ node }) {
    this.online.add(node.node_id);
    return { success: true };
  }

  "pull-messages"() {
    const [next] = this.messages.splice(0, 1);
    return next ? { messages_list: [next.message], message_object_trees: [next.tree] } : { messages_list: [], message_object_trees: [] };
  }

  "pull-object"({ object_id }) {
    const object_content = this.objects.get(object_id);
    return { object_found: object_content !== undefined, object_available: true, object_content: object_content ?? new Uint8Array(0) };
  }

  "confirm-message-received"() {
    return {};
  }

  "push-messages"({ messages_list: [message], message_object_trees: [tree] }) {
    const { reply_to_message_id, message_id } = message.metadata;
    assert.ok((message.content === undefined) !== (message.error === undefined));
    const before = this.replies.get(reply_to_message_id);
    if (before && before.message.metadata.message_id !== message_id) return { objects_to_push: [], session_id: "s" };
    this.replies.set(reply_to_message_id, { message, tree });
    const ids = new Set();
    const add = (bytes) => {
      const { object_id, children } = proto.ObjectTree.decode(bytes);
      ids.add(object_id);
      children.forEach(add);
    };
    add(tree);
    const objects_to_push = [...ids].filter((id) => !this.objects.has(id));
    this.missing = new Set(objects_to_push);
    return { objects_to_push, session_id: `session ${this.count("push-messages")}` };
  }

  async "push-object"({ object_id, object_content, session_id }) {
    assert.equal(session_id, `session ${this.count("push-messages")}`);
    assert.equal(await idOf(object_content), object_id);
    const stored = this.missing.delete(object_id);
    if (stored) this.objects.set(object_id, object_content);
    return { stored };
  }

  /** Has a message ready for the node; gives its id. */
  async send(content, more = {}) {
    const maker = new ObjectMaker();
    const children = [await maker.content(content)];
    const metadata = {
      run_id: 7n, message_id: "", src_node_id: 1n, dst_node_id: [...this.nodes.values()].at(-1), reply_to_message_id: "", group_id: "2",
      message_type: "train", created_at: (Date.now() + this.ahead) / 1000 - 1, ttl: 600, src_task_id: 3n, dst_task_id: undefined, ...more,
    };
    const tree = await maker.make("Message", children, proto.Message.encode({ metadata, content: undefined, error: undefined }).finish());
    for (const [id, bytes] of maker.objects) this.objects.set(id, bytes);
    const message = { metadata: { ...metadata, message_id: tree.id }, content: {}, error: undefined };
    this.messages.push({ message, tree: treeBytes(tree) });
    return tree.id;
  }
}
