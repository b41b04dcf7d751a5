import { failure } from "../../errors.js";
import { sleep } from "../../sleep.js";
import { serverAddress } from "./address.js";
import type { Content } from "./content.js";
import { decoded, FederationError, malformed } from "./errors.js";
import { Fleet, type CallOptions, type FleetOptions, type Traffic } from "./fleet.js";
import { Identity } from "./identity.js";
import { headOf, onlyMessage, openMessage, replyTo, type Answer, type IncomingHead } from "./message.js";
import { idsOf, OBJECT_BYTES, ObjectSet, openTree } from "./objects.js";
import { inParallel } from "./parallel.js";
import * as proto from "./proto/flower.js";

/** What {@link FleetNode.join} takes beside the server's address. */
export interface JoinOptions extends FleetOptions {
  /** Who joins. Default: the identity that the browser keeps for this server, made at the first time. */
  identity?: Identity;
  /**
   * In seconds, from 10 to 1,800: a node that was not heard of for twice as long is offline for the server. Timers of tabs
   * in the background run once a minute, so it should not be short. Default 300.
   */
  heartbeat_interval?: number;
  /** Objects that came before, so that what does not change is fetched once. What it gives is checked as what comes. */
  cache?: ObjectCache;
  /** The most bytes of a message's objects, and of the values in them. Default 256 MiB. */
  max_bytes?: number;
}

/** Keeps the bytes of objects by their ids. */
export interface ObjectCache {
  get(id: string): Bytes | undefined | Promise<Bytes | undefined>;
  set(id: string, bytes: Bytes): void | Promise<void>;
}

type Bytes = Uint8Array<ArrayBuffer>;

/** A message with its content. */
export interface Incoming {
  metadata: IncomingHead;
  /** What is asked for, such as "train", "evaluate" or "query.layout". */
  type: string;
  content: Content;
  /** Bytes of its objects that were fetched, without those that the cache had. */
  bytes: number;
  /** How many objects it has. */
  objects: number;
}

const HEARTBEAT_INTERVAL = 300;
const MAX_BYTES = 2 ** 28;
/** Objects that travel at the same time. */
const CONCURRENCY = 4;
/** A message with the ids of as many objects as there may be, each of 64 digits and the marks around them. */
const MESSAGE_BYTES = 1 << 19;
const OBJECT_SECONDS = 300;
/** How often a reply is announced whose objects the server did not take at first. */
const PUSHES = 3;

/** Flower's numbers of refusals at the door. */
const KEY_IN_USE = 23;
const REGISTRATION_CLOSED = 2001;

/**
 * A node of a Flower federation (flwr 1.42, Fleet API over HTTP). It says that it is there until it leaves. One node at a
 * time may use an identity: two of them would take messages from each other.
 */
export class FleetNode {
  readonly identity: Identity;
  readonly heartbeat_interval: number;
  readonly #fleet: Fleet;
  readonly #options: JoinOptions;
  readonly #ended = new AbortController();
  #node_id = 0n;
  #entering: Promise<void> | undefined;

  private constructor(fleet: Fleet, identity: Identity, options: JoinOptions) {
    this.#fleet = fleet;
    this.identity = identity;
    this.#options = options;
    this.heartbeat_interval = options.heartbeat_interval ?? HEARTBEAT_INTERVAL;
    if (!(this.heartbeat_interval >= 10 && this.heartbeat_interval <= 1800)) {
      throw failure("bad-option", `heartbeat_interval is ${this.heartbeat_interval}; it has to be from 10 to 1800 seconds`);
    }
  }

  /** Registers at a server, unless it knows this node, and tells it from then on that the node is there. */
  static async join(base: string | URL, options: JoinOptions = {}): Promise<FleetNode> {
    const identity = options.identity ?? (await Identity.of(base));
    const node = new FleetNode(new Fleet(serverAddress(base), identity, options), identity, options);
    await node.#enter();
    void node.#beat();
    return node;
  }

  /** The id that the server gave. */
  get node_id(): bigint {
    return this.#node_id;
  }

  /** Bytes of the bodies of all requests. */
  get bytes_sent(): number {
    return this.#fleet.traffic.sent;
  }

  /** Bytes of the bodies of all answers. */
  get bytes_received(): number {
    return this.#fleet.traffic.received;
  }

  /** When the server last answered, in milliseconds since 1970 by this device's clock. */
  get last_heard(): number {
    return this.#fleet.last_heard;
  }

  /** How many seconds are left to reply to a message; none where it has expired. */
  secondsFor({ created_at, ttl }: IncomingHead): number {
    return Math.max(created_at + ttl - this.identity.now() / 1000, 0);
  }

  /**
   * Asks for a message once, and fetches what it carries; undefined where there is none. The server gives each message
   * away once: where a reload may come in between, keep the head that {@link receive} gives and fetch with {@link open}.
   */
  async pull(): Promise<Incoming | undefined> {
    const head = await this.receive();
    if (head === undefined) return undefined;
    const incoming = await this.open(head);
    await this.confirm(head);
    return incoming;
  }

  /** Asks for a message once, and gives its head. */
  async receive(): Promise<IncomingHead | undefined> {
    const path = "pull-messages";
    const answer = await this.#call(path, (node) => proto.PullMessagesRequest.encode({ node }).finish(), { limit: MESSAGE_BYTES });
    const only = onlyMessage(decoded(path, () => proto.PullMessagesResponse.decode(answer)));
    return only && headOf(only[0], openTree(only[1]));
  }

  /** Fetches what a message carries, which can be done again until it is confirmed. */
  async open(head: IncomingHead): Promise<Incoming> {
    this.#checkTime(head);
    const objects = new ObjectSet(this.#options.max_bytes ?? MAX_BYTES);
    let bytes = 0;
    await inParallel(idsOf(head.tree), CONCURRENCY, async (id, signal) => {
      const fetched = await this.#fetch(BigInt(head.run_id), id, objects, signal);
      bytes += fetched;
    });
    return { metadata: head, type: head.message_type, content: openMessage(head, objects), bytes, objects: objects.size };
  }

  /** Puts an object into the set; tells how many bytes were fetched for it. */
  async #fetch(run_id: bigint, object_id: string, objects: ObjectSet, signal: AbortSignal): Promise<number> {
    const { cache } = this.#options;
    const cached = await cache?.get(object_id);
    if (cached !== undefined && (await objects.add(object_id, cached))) return 0;
    const path = "pull-object";
    const request = (node: proto.Node) => proto.PullObjectRequest.encode({ node, run_id, object_id }).finish();
    // Room for what stands around the object.
    const options = { limit: OBJECT_BYTES + 64, seconds: OBJECT_SECONDS, signal };
    for (let tries = 1; ; tries++) {
      const answer = await this.#call(path, request, options);
      const { object_found, object_available, object_content } = decoded(path, () => proto.PullObjectResponse.decode(answer));
      if (!object_found) throw new FederationError("federation-expired", `object ${object_id} is gone: its message has expired`, { path });
      if (object_available) {
        // The protobuf library gives a view of what was read.
        const bytes = object_content as Bytes;
        if (!(await objects.add(object_id, bytes))) throw malformed(`object ${object_id} came as another one`, { path });
        await cache?.set(object_id, bytes);
        return bytes.length;
      }
      if (tries >= this.#fleet.tries) {
        throw new FederationError("federation-unreachable", `the server has yet to get object ${object_id} itself`, { path });
      }
      await sleep(this.#fleet.waitAfter(tries) / 1000, signal);
    }
  }

  /** Tells the server that a message has come whole; the server then forgets its objects. */
  async confirm({ run_id, message_id }: IncomingHead): Promise<void> {
    await this.#call("confirm-message-received", (node) =>
      proto.ConfirmMessageReceivedRequest.encode({ node, run_id: BigInt(run_id), message_object_id: message_id }).finish(),
    );
  }

  /**
   * Replies to a message, of which the head is enough; gives the bytes that were sent for it. A server takes one reply to a message,
   * so one that may be in the midst of being sent, by a tab that is gone, has to be the same to the byte: `made_at`, in
   * milliseconds by the server's clock, is then what it was at the first time.
   */
  async reply({ metadata: head, made_at }: Pick<Incoming, "metadata"> & { made_at?: number }, answer: Answer): Promise<number> {
    this.#checkTime(head);
    const { message, tree, objects } = await replyTo(head, answer, made_at ?? this.identity.now());
    const run_id = BigInt(head.run_id);
    const traffic = { sent: 0, received: 0 };
    const path = "push-messages";
    const request = (node: proto.Node) =>
      proto.PushMessagesRequest.encode({ node, messages_list: [message], message_object_trees: [tree] }).finish();
    for (let pushes = 1; pushes <= PUSHES; pushes++) {
      const answer = await this.#call(path, request, { limit: MESSAGE_BYTES, traffic });
      const { objects_to_push, session_id } = decoded(path, () => proto.PushMessagesResponse.decode(answer));
      // The message is new, so at first it is missing itself, unless the server has put the reply aside.
      if (objects_to_push.length === 0 && pushes === 1 && made_at === undefined) {
        const reason = "the server does not take this reply: the message has expired or been replied to, or its node has another id now";
        throw new FederationError("federation-expired", reason, { path });
      }
      const missing = objects_to_push.map((object_id) => {
        const object_content = objects.get(object_id);
        if (object_content === undefined) throw malformed("the server asks for an object that the reply has not", { path });
        return { run_id, object_id, object_content, session_id };
      });
      if (await this.#push(missing, traffic)) return traffic.sent;
    }
    const reason = `the server did not store a reply's objects (tries: ${PUSHES})`;
    throw new FederationError("federation-unreachable", reason, { path: "push-object" });
  }

  /**
   * Pushes objects; says whether all were stored. One that was stored although the answer was lost is refused when it is
   * sent again, and only the next push-messages tells that nothing is missing.
   */
  async #push(missing: Omit<proto.PushObjectRequest, "node">[], traffic: Traffic): Promise<boolean> {
    const path = "push-object";
    let all = true;
    await inParallel(missing, CONCURRENCY, async (object, signal) => {
      const request = (node: proto.Node) => proto.PushObjectRequest.encode({ node, ...object }).finish();
      const answer = await this.#call(path, request, { seconds: OBJECT_SECONDS, signal, traffic });
      all &&= decoded(path, () => proto.PushObjectResponse.decode(answer)).stored;
    });
    return all;
  }

  /**
   * Stops telling that the node is there and says so. A reply that the server's app has not collected yet is lost then.
   * `unregister` also takes the node's key from the server for good, and forgets it here.
   */
  async leave({ unregister = false }: { unregister?: boolean } = {}): Promise<void> {
    if (this.#ended.signal.aborted) return;
    this.#ended.abort();
    const node_id = this.#node_id;
    try {
      await this.#fleet.call("deactivate-node", proto.DeactivateNodeRequest.encode({ node_id }).finish(), { tries: 1 });
    } catch {
      // The server notices by itself, only later.
    }
    if (!unregister) return;
    await this.#fleet.call("unregister-node", proto.UnregisterNodeFleetRequest.encode({ node_id }).finish());
    await this.identity.forget();
  }

  #checkTime(head: IncomingHead): void {
    if (this.secondsFor(head) <= 0) {
      throw new FederationError("federation-expired", `the time for this message is over, which was ${Math.round(head.ttl)} s`);
    }
  }

  /** Makes a call as this node; once more, where the server does not know the node any more, after entering again. */
  async #call(path: string, request: (node: proto.Node) => Bytes, options?: CallOptions): Promise<Bytes> {
    if (this.#ended.signal.aborted) throw failure("bad-state", "the node has left its server: join again");
    const node_id = this.#node_id;
    try {
      return await this.#fleet.call(path, request({ node_id }), options);
    } catch (thrown) {
      if (!(thrown instanceof FederationError && thrown.status === 401)) throw thrown;
      // Another call may have entered meanwhile.
      if (this.#node_id === node_id) await this.#enter();
      return this.#fleet.call(path, request({ node_id: this.#node_id }), options);
    }
  }

  /** Enters as the node that the server knows, or as a new one; calls that need it at the same time share it. */
  #enter(): Promise<void> {
    this.#entering ??= this.#entered().finally(() => (this.#entering = undefined));
    return this.#entering;
  }

  async #entered(): Promise<void> {
    const known = this.identity.node_id;
    // A node that is online cannot be activated once more, as after a reload; a heartbeat does it in any case.
    if (known !== undefined && (await this.#isHeard(known))) {
      this.#node_id = known;
      return;
    }
    const public_key = new TextEncoder().encode(this.identity.pem);
    const refusal = await this.#register(public_key);
    const path = "activate-node";
    const request = proto.ActivateNodeRequest.encode({ public_key, heartbeat_interval: this.heartbeat_interval }).finish();
    const answer = await this.#fleet.call(path, request).catch((thrown: unknown) => {
      if (!(thrown instanceof FederationError && thrown.status === 412)) throw thrown;
      const what =
        refusal === REGISTRATION_CLOSED
          ? "the server takes enrolled nodes alone: have the operator enrol this node's public key"
          : `the server has this node's key, but does not let it in now: try again in ${2 * this.heartbeat_interval} s`;
      throw new FederationError("federation-refused", what, thrown);
    });
    const { node_id } = decoded(path, () => proto.ActivateNodeResponse.decode(answer));
    if (node_id === 0n) throw malformed("the server gave this node no id", { path });
    this.#node_id = node_id;
    await this.identity.setNodeId(node_id);
  }

  /** Registers the key; where the server has it, or lets only its operator do that, the number of its refusal. */
  async #register(public_key: Bytes): Promise<number | undefined> {
    try {
      await this.#fleet.call("register-node", proto.RegisterNodeFleetRequest.encode({ public_key }).finish());
    } catch (thrown) {
      const code = thrown instanceof FederationError ? thrown.server_code : undefined;
      if (code !== KEY_IN_USE && code !== REGISTRATION_CLOSED) throw thrown;
      return code;
    }
    return undefined;
  }

  /** Sends a heartbeat; says whether the server knows the node. */
  async #isHeard(node_id: bigint, options?: CallOptions): Promise<boolean> {
    const path = "send-node-heartbeat";
    const request = proto.SendNodeHeartbeatRequest.encode({ node: { node_id }, heartbeat_interval: this.heartbeat_interval });
    try {
      const answer = await this.#fleet.call(path, request.finish(), options);
      return decoded(path, () => proto.SendNodeHeartbeatResponse.decode(answer)).success;
    } catch (thrown) {
      if (thrown instanceof FederationError && thrown.status === 401) return false;
      throw thrown;
    }
  }

  /** Sends heartbeats until the node leaves, three in each interval; after a failure sooner and then ever later. */
  async #beat(): Promise<void> {
    const signal = AbortSignal.any([this.#ended.signal, this.#options.signal].filter((signal) => signal !== undefined));
    const usual = (this.heartbeat_interval * 1000) / 3;
    let failures = 0;
    for (;;) {
      try {
        await sleep((failures > 0 ? Math.min(this.#fleet.waitAfter(failures), usual) : usual) / 1000, signal);
        if (!(await this.#isHeard(this.#node_id, { tries: 1, signal }))) await this.#enter();
        failures = 0;
      } catch {
        if (signal.aborted) return;
        failures += 1;
      }
    }
  }
}
