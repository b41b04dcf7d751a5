// How much of the proxy one client may take: connections that are open at once, and requests in a time. What is remembered of
// clients is bounded, however many there are.
import { isIPv6 } from "node:net";

/** Sizes in bytes, times in milliseconds, rates in requests per second. */
export const LIMITS = {
  /** A request's line and headers; the identity of a node takes some 600 bytes of them. */
  header_bytes: 8192,
  connections: 512,
  connections_per_address: 64,
  rate_per_address: 100,
  rate_per_key: 30,
  /** Requests that are with the SuperLink at once; others wait, and what they would send waits with them. */
  upstream_connections: 64,
  header_ms: 10_000,
  /** Until a whole request is there: 120 s are 45 kB/s for the largest. */
  request_ms: 120_000,
  /** Beyond that, until the SuperLink's answer has been sent. */
  answer_ms: 60_000,
  /** How long a connection is kept for its next request; a node waits some 3 s between two. */
  idle_ms: 15_000,
};

/** Seconds' worth of requests that a client may save up: a round begins with a burst. */
const BURST_SECONDS = 4;

/** Clients whose rate is remembered. Whoever is forgotten has not asked for longer than all of these, and starts anew. */
const REMEMBERED = 10_000;

/** Token buckets, one for each client: it holds what `rate` makes in BURST_SECONDS, and gets `rate` new tokens a second. */
export class Rates {
  #rate;
  #most;
  #now;
  #remembered;
  /** In the order of their last use. */
  #buckets = new Map();

  constructor(rate, { now = () => performance.now(), remembered = REMEMBERED } = {}) {
    this.#rate = rate;
    this.#most = Math.max(1, rate * BURST_SECONDS);
    this.#now = now;
    this.#remembered = remembered;
  }

  get size() {
    return this.#buckets.size;
  }

  /** Whole seconds until `client` may ask again; 0 where it may now. */
  wait(client) {
    const tokens = this.#tokens(client);
    return tokens >= 1 ? 0 : Math.ceil((1 - tokens) / this.#rate);
  }

  /** Takes a token. Requests that were let in at once may together take more than there are, which is then waited for. */
  spend(client) {
    const tokens = Math.max(-this.#most, this.#tokens(client) - 1);
    this.#buckets.delete(client);
    this.#buckets.set(client, { tokens, at: this.#now() });
    if (this.#buckets.size > this.#remembered) this.#buckets.delete(this.#buckets.keys().next().value);
  }

  #tokens(client) {
    const bucket = this.#buckets.get(client);
    if (bucket === undefined) return this.#most;
    return Math.min(this.#most, bucket.tokens + ((this.#now() - bucket.at) / 1000) * this.#rate);
  }
}

/** The sockets that are open, and how many of them each client has. */
export class Connections {
  #per_address;
  #counts = new Map();
  #open = new Set();

  constructor(per_address) {
    this.#per_address = per_address;
  }

  get size() {
    return this.#open.size;
  }

  /** Whether the client of `socket` may have one more; where it may, it is counted until it closes. */
  admit(socket) {
    const client = clientOf(socket);
    const count = this.#counts.get(client) ?? 0;
    if (count >= this.#per_address) return false;
    this.#counts.set(client, count + 1);
    this.#open.add(socket);
    socket.once("close", () => {
      this.#open.delete(socket);
      const left = this.#counts.get(client) - 1;
      if (left > 0) this.#counts.set(client, left);
      else this.#counts.delete(client);
    });
    return true;
  }

  destroyAll() {
    for (const socket of this.#open) socket.destroy();
  }
}

/**
 * Who is at the other end of a socket, as far as limits go: its IPv4 address, or the first 64 bits of its IPv6 address, of which
 * every household has 2^64. Only the socket knows; what a header says of it (`x-forwarded-for`) anyone can write.
 */
export function clientOf({ remoteAddress = "" }) {
  if (!isIPv6(remoteAddress)) return remoteAddress;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(remoteAddress);
  if (mapped) return mapped[1];
  const [before, after] = remoteAddress.split("%")[0].split("::");
  const head = before === "" ? [] : before.split(":");
  const tail = after === undefined || after === "" ? [] : after.split(":");
  const zeros = after === undefined ? [] : new Array(Math.max(0, 8 - head.length - tail.length)).fill("0");
  return [...head, ...zeros, ...tail].slice(0, 4).join(":").concat("::/64");
}
