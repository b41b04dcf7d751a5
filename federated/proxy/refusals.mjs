// What a client is told that does not get what it asked for: JSON { code, message }, by HTTP's own means or on a bare socket.
import { STATUS_CODES } from "node:http";

const STATUS = {
  "bad-request": 400,
  "not-enrolled": 403,
  "not-found": 404,
  "too-large": 413,
  "too-many": 429,
  unavailable: 503,
};

/** Bytes of a refused body that are read and dropped, so that its sender gets to read the answer. With more, the connection is closed. */
const DROPPED_BYTES = 8 << 20;

/**
 * A request that is not served. `code` is one of those above, `kind` a fixed word or two under which the operator's log
 * counts it, `message` what the client is told. `status` and `headers` are those of the answer.
 */
export class Refusal extends Error {
  constructor(code, kind, message, { status = STATUS[code], headers = {} } = {}) {
    super(message);
    Object.assign(this, { code, kind, status, headers });
  }

  get body() {
    return `${JSON.stringify({ code: this.code, message: this.message })}\n`;
  }
}

/** Answers with `refusal`; where an answer has begun already, it is broken off. */
export function refuse(response, refusal) {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  if (!isShort(response.req)) response.setHeader("Connection", "close");
  response.writeHead(refusal.status, { ...headersOf(refusal), ...refusal.headers }).end(refusal.body);
}

/** Answers on a socket whose request could not even be read, and closes it. */
export function refuseOn(socket, refusal) {
  // HTTP's server no longer looks after a socket that asked for a tunnel, and its end may have come already.
  socket.on("error", () => socket.destroy());
  if (!socket.writable) {
    socket.destroy();
    return;
  }
  const headers = Object.entries({ ...headersOf(refusal), Connection: "close" }).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.write(`HTTP/1.1 ${refusal.status} ${STATUS_CODES[refusal.status]}\r\n${headers.join("")}\r\n${refusal.body}`);
  socket.destroySoon();
}

function headersOf(refusal) {
  return {
    "Content-Type": "application/json",
    "Content-Length": Buffer.byteLength(refusal.body),
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
  };
}

/** Whether what is left of a request is so little that its connection can go on. */
function isShort({ headers }) {
  return headers["transfer-encoding"] === undefined && Number(headers["content-length"] ?? 0) <= DROPPED_BYTES;
}
