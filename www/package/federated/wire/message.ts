import { ObjectMaker, readContent, type Content } from "./content.js";
import { decoded, malformed } from "./errors.js";
import { treeBytes, type ObjectSet, type Tree } from "./objects.js";
import { Message, type Metadata, type PullMessagesResponse } from "./proto/flower.js";

/**
 * A message that has come, without its content. It is plain data that JSON and IndexedDB keep, so that its content can
 * be fetched and a reply be made after a reload; numbers of 64 bits are strings of digits.
 */
export interface IncomingHead {
  run_id: string;
  message_id: string;
  src_node_id: string;
  dst_node_id: string;
  group_id: string;
  /** What is asked for, such as "train", "evaluate" or "query.layout". */
  message_type: string;
  /** When the server made it, in seconds since 1970 by the server's clock. */
  created_at: number;
  /** How many seconds later a reply is taken at the latest. */
  ttl: number;
  src_task_id?: string;
  dst_task_id?: string;
  /** The ids of its objects. */
  tree: Tree;
}

/** What a node answers: content, or why there is none. Flower shows the code and the reason to the server's app. */
export type Answer = { content: Content } | { failure: { code: number; reason: string } };

/** A reply ready to be pushed. */
export interface Reply {
  message: Message;
  tree: Uint8Array<ArrayBuffer>;
  /** Bytes of all objects by their ids. */
  objects: Map<string, Uint8Array<ArrayBuffer>>;
}

/** Longer texts are no names of anything. */
const MAX_TEXT = 1024;

/** The head of the message that a server gave. */
export function headOf({ metadata }: Message, tree: Tree): IncomingHead {
  if (metadata === undefined) throw malformed("a message has no metadata");
  const { run_id, message_id, src_node_id, dst_node_id, group_id, message_type, created_at, ttl, src_task_id, dst_task_id } = metadata;
  if (message_id !== tree.id) throw malformed("a message's id is not that of its objects");
  if (group_id.length > MAX_TEXT || message_type.length > MAX_TEXT) throw malformed("a message's type or group is too long a text");
  if (!Number.isFinite(created_at) || !Number.isFinite(ttl)) throw malformed("a message's time is no number");
  return {
    run_id: String(run_id),
    message_id,
    src_node_id: String(src_node_id),
    dst_node_id: String(dst_node_id),
    group_id,
    message_type,
    created_at,
    ttl,
    ...(src_task_id !== undefined && { src_task_id: String(src_task_id) }),
    ...(dst_task_id !== undefined && { dst_task_id: String(dst_task_id) }),
    tree,
  };
}

/** The one message of an answer to pull-messages, with the bytes of its tree; undefined where there is none. */
export function onlyMessage({ messages_list, message_object_trees }: PullMessagesResponse): [Message, Uint8Array] | undefined {
  if (messages_list.length === 0 && message_object_trees.length === 0) return undefined;
  if (messages_list.length !== 1 || message_object_trees.length !== 1) {
    throw malformed(`${messages_list.length} messages came with ${message_object_trees.length} trees of objects`);
  }
  return [messages_list[0]!, message_object_trees[0]!];
}

/** What a message carries, of objects that were all fetched. */
export function openMessage({ tree }: IncomingHead, objects: ObjectSet): Content {
  const { type, body } = objects.open(tree);
  if (type !== "Message") throw malformed(`object ${tree.id} is of type ${type} where a Message is expected`);
  if (decoded("a message", () => Message.decode(body)).error !== undefined) throw malformed("the server sent an error as a message");
  if (tree.children.length !== 1) throw malformed(`a message has ${tree.children.length} contents`);
  return readContent(tree.children[0]!, objects);
}

/**
 * Makes the reply to a message. `now` is the time of the server in milliseconds; the reply lives as long as what it
 * replies to.
 */
export async function replyTo(head: IncomingHead, answer: Answer, now: number): Promise<Reply> {
  const created_at = now / 1000;
  const metadata: Metadata = {
    run_id: BigInt(head.run_id),
    message_id: "",
    src_node_id: BigInt(head.dst_node_id),
    dst_node_id: BigInt(head.src_node_id),
    reply_to_message_id: head.message_id,
    group_id: head.group_id,
    ttl: head.created_at + head.ttl - created_at,
    message_type: head.message_type,
    created_at,
    src_task_id: taskOf(head.dst_task_id),
    dst_task_id: taskOf(head.src_task_id),
  };
  const maker = new ObjectMaker();
  const children = "content" in answer ? [await maker.content(answer.content)] : [];
  const error = "failure" in answer ? { code: BigInt(answer.failure.code), reason: answer.failure.reason } : undefined;
  const tree = await maker.make("Message", children, Message.encode({ metadata, content: undefined, error }).finish());
  // The content of the message that is pushed is there and empty; left out, Flower 1.42 answers with status 500.
  const content = error === undefined ? {} : undefined;
  return {
    message: { metadata: { ...metadata, message_id: tree.id }, content, error },
    tree: treeBytes(tree),
    objects: maker.objects,
  };
}

function taskOf(id: string | undefined): bigint | undefined {
  return id === undefined ? undefined : BigInt(id);
}
