import { failure, throwIfAborted, unanswered, type TabtuneError } from "../errors.js";
import { sleep } from "../sleep.js";
import type { Job } from "./job.js";

const TRIES = 5;
/** Hubs count requests over five minutes; one that asks for a longer wait is not waited for. */
const LONGEST_WAIT_MS = 300_000;

/** A failure that may be gone at the next try. */
export class Passing extends Error {
  readonly address: string;
  /** How long the server asks to wait, if it says so. */
  readonly wait_ms: number | undefined;

  constructor(address: string, reason: string, wait_ms?: number) {
    super(reason);
    this.address = address;
    this.wait_ms = wait_ms;
  }
}

/** Makes the attempt again, after longer and longer waits, while it fails with {@link Passing}. */
export async function retrying<T>(job: Job, attempt: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await attempt();
    } catch (thrown) {
      throwIfAborted(job.signal);
      if (!(thrown instanceof Passing)) throw thrown;
      const wait_ms = thrown.wait_ms ?? job.first_wait_ms * 2 ** (tries - 1);
      if (tries === TRIES || wait_ms > LONGEST_WAIT_MS) {
        throw failure("io", `${thrown.address}: ${thrown.message} (tries: ${tries})`);
      }
      await sleep(wait_ms / 1000, job.signal);
    }
  }
}

/**
 * One request, with the token if it goes to the hub. No header is sent that a server of another origin
 * would have to be asked about first: a single byte range is allowed by itself, and at a redirect to
 * another origin the browser drops the token.
 */
export async function request(
  job: Job,
  address: string,
  { method = "GET", range, cache }: { method?: string; range?: string; cache: RequestCache },
): Promise<Response> {
  const { folder, signal } = job;
  const headers: Record<string, string> = {};
  if (range) headers["Range"] = range;
  if (folder.kind === "hub" && folder.token && new URL(address).origin === new URL(folder.hub).origin) {
    headers["Authorization"] = `Bearer ${folder.token}`;
  }
  let response: Response;
  try {
    response = await fetch(address, { method, headers, cache, signal: signal ?? null });
  } catch (thrown) {
    throwIfAborted(signal);
    throw new Passing(address, unanswered(thrown));
  }
  if (strays(address, response)) {
    discard(response);
    throw failure("io", `${address}: the server sent on to ${new URL(response.url).origin}, where models are not taken from`);
  }
  if (response.status === 429 || response.status === 408 || response.status >= 500) {
    discard(response);
    const wait_ms = retryAfter(response);
    const asks = wait_ms === undefined ? "" : ` and asks to wait ${Math.ceil(wait_ms / 1000)} s`;
    throw new Passing(address, `the server answered ${response.status}${asks}`, wait_ms);
  }
  return response;
}

/**
 * Whether a server led on to where only the visitor's own machine or an eavesdropper answers. Hubs do send on
 * to other origins, so these are allowed in themselves.
 */
function strays(address: string, response: Response): boolean {
  if (!response.redirected) return false;
  const [asked, answered] = [new URL(address), new URL(response.url)];
  return (isEncrypted(asked) && !isEncrypted(answered)) || (isOwnMachine(answered) && !isOwnMachine(asked));
}

function isEncrypted({ protocol }: URL): boolean {
  return protocol === "https:";
}

/** Whether an address is one of this very machine. */
export function isOwnMachine({ hostname }: URL): boolean {
  return /^(localhost|.*\.localhost|127(\.\d+){3}|\[::1\]|0\.0\.0\.0)$/.test(hostname);
}

/** The error for an answer that another try would not change. */
export function refusal({ folder }: Job, address: string, response: Response): TabtuneError {
  discard(response);
  const answered = `${address}: the server answered ${response.status}`;
  // What a server behind the hub's redirect refuses has nothing to do with the token.
  const by_hub = folder.kind === "hub" && new URL(response.url).origin === new URL(folder.hub).origin;
  if (!by_hub || (response.status !== 401 && response.status !== 403)) return failure("io", answered);
  const reason = folder.token
    ? "the token was refused, or gives no access to this model"
    : "a token of the hub is needed, or there is no such model";
  const gated = `if the model is gated, its licence must first be accepted at ${folder.hub}/${folder.id}`;
  return failure("io", `${answered}: ${reason}; ${gated}`);
}

/** Whether a server says that a file is not there; those of single-page apps answer with their page. */
export function isMissing(response: Response, name: string): boolean {
  if (response.status === 404 || response.status === 410) return true;
  const page = response.headers.get("content-type")?.startsWith("text/html") ?? false;
  return response.ok && page && !name.endsWith(".html");
}

/** The pieces of a body as they arrive. */
export async function* chunksOf(
  job: Job,
  address: string,
  response: Response,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void, undefined> {
  const reader = response.body?.getReader();
  if (!reader) return;
  try {
    while (true) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } catch (thrown) {
    throwIfAborted(job.signal);
    throw new Passing(address, `the download broke off (${String(thrown)})`);
  } finally {
    discard(reader);
  }
}

/** The text of a body that has at most so many bytes. */
export async function textWithin(job: Job, address: string, response: Response, most_bytes: number): Promise<string> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let bytes = 0;
  for await (const chunk of chunksOf(job, address, response)) {
    bytes += chunk.length;
    if (bytes > most_bytes) throw failure("io", `${address}: the server's answer is longer than ${most_bytes} bytes`);
    chunks.push(chunk);
  }
  return new Blob(chunks).text();
}

/** Ends a download that nobody reads on. That it is over already is no error. */
export function discard(source: Response | ReadableStreamDefaultReader): void {
  const ended = source instanceof Response ? source.body?.cancel() : source.cancel();
  ended?.catch(() => {});
}

/** Seconds or a date. Other origins' servers have to allow that it is seen. */
function retryAfter(response: Response): number | undefined {
  const text = response.headers.get("retry-after");
  if (text === null) return undefined;
  const wait_ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Number.isNaN(wait_ms) ? undefined : Math.max(0, wait_ms);
}
