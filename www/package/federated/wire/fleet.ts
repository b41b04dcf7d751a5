import { cancelled, throwIfAborted, unanswered } from "../../errors.js";
import { sleep } from "../../sleep.js";
import { FederationError, malformed, quoted } from "./errors.js";
import type { Identity } from "./identity.js";

/** How often a call is made again that failed in passing, and after how long. */
export interface Retry {
  tries: number;
  /** The wait after the first failure; each one is twice the last, and half as much longer or shorter by chance. */
  first_ms: number;
  longest_ms: number;
}

/** A minute of waiting in all, in which a server can be started again. */
const RETRY: Retry = { tries: 8, first_ms: 500, longest_ms: 30_000 };
/** A server that asks for a longer wait is not waited for. */
const LONGEST_ASKED_MS = 300_000;

/** The most bytes of an answer that is no object. */
const ANSWER_BYTES = 1 << 16;
const REQUEST_SECONDS = 30;

/** Flower's number of the refusal because a run has ended. */
const RUN_ENDED = 2007;

/** Bytes of the bodies of requests and of answers. */
export interface Traffic {
  sent: number;
  received: number;
}

/** What is asked of a call. */
export interface CallOptions {
  /** The most bytes of the answer. */
  limit?: number;
  /** How long a try may take. */
  seconds?: number;
  tries?: number;
  signal?: AbortSignal | undefined;
  /** What the call adds its bytes to, beside the sum of all calls. */
  traffic?: Traffic;
}

export interface FleetOptions {
  fetch?: typeof globalThis.fetch | undefined;
  retry?: Partial<Retry> | undefined;
  signal?: AbortSignal | undefined;
}

/** A failure that may be gone at the next try. */
interface Passing {
  reason: string;
  status?: number | undefined;
  /** How long the server asks to wait, if it says so. */
  wait_ms?: number | undefined;
}

/** The calls of Flower's Fleet API over HTTP, each signed anew at every try. */
export class Fleet {
  readonly traffic: Traffic = { sent: 0, received: 0 };
  /** When the server last answered, in milliseconds since 1970 by this device's clock; 0 if it never did. */
  last_heard = 0;
  readonly #base: string;
  readonly #identity: Identity;
  readonly #fetch: typeof globalThis.fetch;
  readonly #retry: Retry;
  readonly #signal: AbortSignal | undefined;

  constructor(base: string, identity: Identity, { fetch, retry, signal }: FleetOptions) {
    this.#base = base;
    this.#identity = identity;
    this.#fetch = fetch ?? ((...request) => globalThis.fetch(...request));
    this.#retry = { ...RETRY, ...retry };
    this.#signal = signal;
  }

  /** Makes a call and gives the body of its answer. */
  async call(path: string, body: Uint8Array<ArrayBuffer>, options: CallOptions = {}): Promise<Uint8Array<ArrayBuffer>> {
    const signals = [this.#signal, options.signal].filter((signal) => signal !== undefined);
    const signal = AbortSignal.any(signals);
    const most = options.tries ?? this.#retry.tries;
    for (let tries = 1; ; tries++) {
      const outcome = await this.#try(path, body, { ...options, signal });
      if (outcome instanceof Uint8Array) return outcome;
      const { reason, status, wait_ms = this.waitAfter(tries) } = outcome;
      if (tries >= most || wait_ms > LONGEST_ASKED_MS) {
        throw new FederationError("federation-unreachable", `${reason} (tries: ${tries})`, { path, status });
      }
      await sleep(wait_ms / 1000, signal);
    }
  }

  /** How long to wait after so many failures in a row, in milliseconds. */
  waitAfter(failures: number): number {
    return Math.min(this.#retry.first_ms * 2 ** (failures - 1), this.#retry.longest_ms) * (0.5 + Math.random());
  }

  /** Failures in a row after which a call is given up. */
  get tries(): number {
    return this.#retry.tries;
  }

  async #try(path: string, body: Uint8Array<ArrayBuffer>, options: CallOptions & { signal: AbortSignal }) {
    let answer = await this.#ask(path, body, options);
    // A clock that is off is set by the server's, and the call made once more.
    if ("response" in answer && answer.response.status === 401 && this.#identity.follow(answer.response.headers.get("date"))) {
      answer = await this.#ask(path, body, options);
    }
    if (!("response" in answer)) return answer;
    const { response, content } = answer;
    if (response.ok) return content;
    const { detail, server_code } = toldBy(content);
    const { status } = response;
    if (status >= 500 || status === 408 || status === 425 || status === 429) {
      return { reason: `the server answered ${status}${detail}`, status, wait_ms: askedWait(response.headers.get("retry-after")) };
    }
    if (server_code === RUN_ENDED) {
      throw new FederationError("federation-expired", "the run that asked has ended", { path, status, server_code });
    }
    throw new FederationError("federation-refused", this.#refusal(status, detail), { path, status, server_code });
  }

  /** One request with its answer, or why there is none. */
  async #ask(
    path: string,
    body: Uint8Array<ArrayBuffer>,
    { limit = ANSWER_BYTES, seconds = REQUEST_SECONDS, signal, traffic }: CallOptions & { signal: AbortSignal },
  ): Promise<{ response: Response; content: Uint8Array<ArrayBuffer> } | Passing> {
    throwIfAborted(signal);
    const timeout = AbortSignal.timeout(seconds * 1000);
    try {
      const headers = { ...(await this.#identity.headers()), "content-type": "application/protobuf" };
      const asked = this.#fetch(`${this.#base}/v1/fleet/${path}`, {
        method: "POST",
        headers,
        body,
        signal: AbortSignal.any([signal, timeout]),
        // Nothing goes along that says more of a person than the node's key does.
        credentials: "omit",
        referrerPolicy: "no-referrer",
        cache: "no-store",
        redirect: "error",
      });
      this.#count(traffic, body.length, 0);
      const response = await asked;
      const content = await bodyOf(response, response.ok ? limit : ANSWER_BYTES, path);
      this.#count(traffic, 0, content.length);
      this.last_heard = Date.now();
      return { response, content };
    } catch (thrown) {
      if (thrown instanceof FederationError) throw thrown;
      if (signal.aborted) throw cancelled();
      if (timeout.aborted) return { reason: `no answer came in ${seconds} s` };
      return { reason: unanswered(thrown) };
    }
  }

  #count(traffic: Traffic | undefined, sent: number, received: number): void {
    for (const sum of [this.traffic, traffic]) {
      if (sum === undefined) continue;
      sum.sent += sent;
      sum.received += received;
    }
  }

  /** What a person can do about a refusal. */
  #refusal(status: number, detail: string): string {
    const told = `the server refused this node with status ${status}${detail}`;
    if (status === 401) {
      return `${told}: set this device's clock to the right time, or have the operator enrol this node's public key`;
    }
    if (status === 403) return `${told}: have the operator enrol this node's public key`;
    if (status === 404 || status === 405) return `${told}: is ${this.#base} the address of a federation?`;
    return told;
  }
}

/** Reads an answer, which may have so many bytes. */
async function bodyOf(response: Response, limit: number, path: string): Promise<Uint8Array<ArrayBuffer>> {
  const place = { path, status: response.status };
  if (Number(response.headers.get("content-length") ?? 0) > limit) {
    await response.body?.cancel();
    throw malformed(`the answer has more than ${limit} bytes`, place);
  }
  const parts: Uint8Array[] = [];
  let length = 0;
  if (response.body) {
    const reader = response.body.getReader();
    for (let read = await reader.read(); !read.done; read = await reader.read()) {
      length += read.value.length;
      if (length > limit) {
        await reader.cancel();
        throw malformed(`the answer has more than ${limit} bytes`, place);
      }
      parts.push(read.value);
    }
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** What the JSON of a refusal says: Flower's has a number and `detail`, the proxy's a code in words and `message`. */
function toldBy(content: Uint8Array): { detail: string; server_code: number | undefined } {
  try {
    const { code, detail, message } = JSON.parse(new TextDecoder().decode(content)) as Record<string, unknown>;
    const text = detail ?? message;
    return {
      detail: typeof text === "string" ? ` (${quoted(text, 400)})` : "",
      server_code: typeof code === "number" ? code : undefined,
    };
  } catch {
    return { detail: "", server_code: undefined };
  }
}

/** The wait that a Retry-After header asks for, in seconds or until a date. */
function askedWait(header: string | null): number | undefined {
  if (header === null) return undefined;
  const ms = /^\d{1,9}$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isFinite(ms) ? Math.max(ms, 0) : undefined;
}
