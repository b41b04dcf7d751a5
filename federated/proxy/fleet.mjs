// What may reach the SuperLink: the calls of Flower's Fleet API (flwr 1.42, superlink/routers/fleet/router.py) that a node in a
// tab makes, each a POST with one protobuf message and the three headers of its identity.
import { Refusal } from "./refusals.mjs";

const MIB = 1 << 20;

/** The largest slice of an array that Flower sends as one object (flwr 1.42, FLWR_PRIVATE_MAX_ARRAY_CHUNK_SIZE). */
const CHUNK_BYTES = 5_242_880;

/** What is around such a slice: its object's head, the node, the run and the ids. */
const AROUND_CHUNK_BYTES = 64 << 10;

const NAMES = [
  "register-node",
  "activate-node",
  "send-node-heartbeat",
  "pull-messages",
  "pull-object",
  "confirm-message-received",
  "push-messages",
  "push-object",
  "deactivate-node",
  "unregister-node",
  "get-run",
];

/**
 * The most bytes of a body by path. The router's twelfth path, get-fab, hands out the federation's own Python app, which no tab can
 * run, so it is not among them.
 */
export const FLEET_PATHS = new Map(
  NAMES.map((name) => [`/v1/fleet/${name}`, name === "push-object" ? CHUNK_BYTES + AROUND_CHUNK_BYTES : MIB]),
);

export const MEDIA_TYPE = "application/protobuf";

/** A node's identity: base64 of a PEM text, an ISO 8601 date with its offset, base64 of a DER signature over that date. */
const IDENTITY = {
  "flwr-public-key": /^[A-Za-z0-9+/]{1,1022}={0,2}$/,
  "flwr-timestamp": /^\d{4}-\d\d-\d\dT[\d:.]{5,15}(Z|[+-]\d\d:\d\d)$/,
  "flwr-signature": /^[A-Za-z0-9+/]{1,254}={0,2}$/,
};

/** The media type that the headers of a request or an answer tell, without its parameters. */
export function mediaType({ "content-type": type = "" }) {
  return type.split(";", 1)[0].trim().toLowerCase();
}

export const IDENTITY_HEADERS = Object.keys(IDENTITY);

/**
 * Checks what a call's head says before anything of its body is read. The result, { path, headers }, is all that the SuperLink gets to see
 * of it; the headers are made anew from values that were checked.
 */
export function checkCall({ method, url: path, headers }) {
  const limit = FLEET_PATHS.get(path);
  if (method !== "POST") {
    throw new Refusal("bad-request", "method", "This address takes POST only.", { status: 405, headers: { Allow: "POST, OPTIONS" } });
  }
  checkType(headers);
  const length = checkLength(headers, limit);
  const identity = {};
  for (const [name, form] of Object.entries(IDENTITY)) {
    const value = headers[name];
    if (value === undefined || !form.test(value)) {
      const said = `The header ${name} is ${value === undefined ? "missing" : "malformed"}`;
      throw new Refusal("bad-request", "identity", `${said}; a node sends its key, a date and a signature with every call.`);
    }
    identity[name] = value;
  }
  return { path, headers: { "content-type": MEDIA_TYPE, "content-length": length, ...identity } };
}

function checkType(headers) {
  if (mediaType(headers) !== MEDIA_TYPE) {
    throw new Refusal("bad-request", "media type", `The content-type must be ${MEDIA_TYPE}.`, { status: 415 });
  }
  if (headers["content-encoding"] !== undefined) {
    throw new Refusal("bad-request", "media type", "Send the body without a content-encoding.", { status: 415 });
  }
}

/** A body of unknown length could only be found too long when part of it had been passed on, so its length has to be told. */
function checkLength(headers, limit) {
  if (headers["transfer-encoding"] !== undefined || headers.trailer !== undefined) {
    const how = "Send the body in one piece with its content-length, without chunks or trailers.";
    throw new Refusal("bad-request", "no length", how, { status: 411 });
  }
  const said = headers["content-length"];
  if (said === undefined) throw new Refusal("bad-request", "no length", "The content-length is missing.", { status: 411 });
  const length = Number(said);
  if (!/^\d{1,15}$/.test(said)) throw new Refusal("bad-request", "no length", "The content-length is not a number.");
  if (length > limit) {
    throw new Refusal("too-large", "body", `The body has ${length} bytes; at most ${limit} are taken here. Send large arrays in slices.`);
  }
  return length;
}
