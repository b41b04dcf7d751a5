import { failure, throwIfAborted, unanswered } from "../errors.js";
import { DEFAULT_HUB } from "../hub/folder.js";
import { discard, isOwnMachine, Passing, retrying, textWithin } from "../hub/request.js";
import { jobAt, type Asking } from "./bounded.js";
import { Fields, parseJson, type Place } from "./json.js";

export const JSON_TYPE = "application/json";
export const LFS_TYPE = "application/vnd.git-lfs+json";
/** What the hub answers is of the hub, and no file. */
export const PLACE: Place = { name: "the hub's answer", code: "io" };
const ANSWER = { bytes: 4 << 20, depth: 8, values: 100_000 };
const HINTS: Record<number, string> = {
  401: " (the token was refused)",
  403: " (the token may not write there)",
  404: " (there is no such place, or the token may not see it)",
};

/** A hub, and who asks it. */
export interface HubAccess extends Asking {
  hub?: string;
  token: string;
}

/** Requests to one hub, with the token to nowhere else. */
export class HubApi {
  /** Without a slash at its end. */
  readonly hub: string;
  readonly report: NonNullable<Asking["on_progress"]>;
  readonly #token: string;
  readonly #asking: Asking;

  constructor({ hub = DEFAULT_HUB, token, signal, on_progress = () => {} }: HubAccess) {
    this.hub = new URL(hub, globalThis.location?.href).href.replace(/\/+$/, "");
    this.report = on_progress;
    this.#token = token;
    this.#asking = { signal };
    this.checked(this.hub);
  }

  /** The answer's fields; none where a status was allowed that is no success. */
  async post(path: string, body: object | string, { type = JSON_TYPE, allowed = [] as number[], headers = {} } = {}): Promise<Fields> {
    const address = this.checked(path.startsWith("/") ? this.hub + path : path);
    const sent = { "Content-Type": type, Accept: type === LFS_TYPE ? LFS_TYPE : JSON_TYPE, ...headers };
    const response = await this.send("POST", address, typeof body === "string" ? body : JSON.stringify(body), sent, allowed);
    const text = await textWithin(jobAt(address, this.#asking), address, response, ANSWER.bytes);
    const is_json = response.ok && text.trim() !== "" && /json/.test(response.headers.get("content-type") ?? "");
    return new Fields(PLACE, is_json ? parseJson(PLACE, new TextEncoder().encode(text), ANSWER) : {});
  }

  /** One request, made again while its failure may pass. */
  async send(method: string, address: string, body: BodyInit, headers: Record<string, string>, allowed: number[] = []): Promise<Response> {
    const { signal = null } = this.#asking as { signal?: AbortSignal };
    const authorised = new URL(address).origin === new URL(this.hub).origin ? { Authorization: `Bearer ${this.#token}` } : {};
    const job = jobAt(address, this.#asking);
    // Addresses of storage hold signatures, which are nobody's business.
    const place = `${new URL(address).origin}${new URL(address).pathname}`;
    return retrying(job, async () => {
      let response: Response;
      try {
        response = await fetch(address, { method, body, headers: { ...headers, ...authorised }, signal, redirect: "manual", credentials: "omit" });
      } catch (thrown) {
        throwIfAborted(signal ?? undefined);
        throw new Passing(place, unanswered(thrown));
      }
      if (response.ok || allowed.includes(response.status)) return response;
      // It could lead the token elsewhere. Browsers show nothing of it.
      if (response.type === "opaqueredirect" || (response.status >= 300 && response.status < 400)) {
        throw failure("io", `${place}: the server sends on elsewhere, as hubs do where a repository was renamed; write its name as it is now`);
      }
      const reason = await this.#reason(job, place, response);
      if (response.status === 429 || response.status >= 500) throw new Passing(place, reason);
      throw failure("io", `${place}: ${reason}`);
    });
  }

  async #reason(job: ReturnType<typeof jobAt>, place: string, response: Response): Promise<string> {
    let told = "";
    try {
      const text = await textWithin(job, place, response, ANSWER.bytes);
      const { error } = JSON.parse(text) as { error?: unknown };
      if (typeof error === "string") told = `: ${error.slice(0, 300).replaceAll(this.#token, "…").replace(/\p{Cc}/gu, " ")}`;
    } catch {
      discard(response);
    }
    return `the server answered ${response.status}${HINTS[response.status] ?? ""}${told}`;
  }

  /** An address that something is sent to: https, or where the hub itself is. */
  checked(address: string): string {
    const url = new URL(address, this.hub);
    const is_local = isOwnMachine(url) && isOwnMachine(new URL(this.hub));
    if (url.protocol === "https:" || (url.protocol === "http:" && is_local)) return url.href;
    throw failure("bad-option", `nothing is uploaded to ${url.origin}: it has to be https`);
  }
}
