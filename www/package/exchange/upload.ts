import { failure, throwIfAborted, unanswered } from "../errors.js";
import { DEFAULT_HUB, HUB_ID } from "../hub/folder.js";
import { discard, Passing, retrying, textWithin } from "../hub/request.js";
import { jobAt, type Asking } from "./bounded.js";
import { sha256 } from "./card.js";
import { checkAdapter } from "./inspect.js";
import { Fields, parseJson, type Place } from "./json.js";
import type { ExchangedFiles } from "./limits.js";
import { modelCard } from "./readme.js";

/**
 * The hub's HTTP API by itself: the commit path of @huggingface/hub takes 38 kB after gzip and brings Xet's WebAssembly, while
 * three small files need four requests (https://huggingface.co/docs/hub/api, and Git LFS' batch API).
 */

export interface UploadOptions extends Asking {
  /** "owner/name". It is made where there is none. */
  repo: string;
  /** A token of the hub that may write. */
  token: string;
  files: ExchangedFiles;
  /** Default "https://huggingface.co". */
  hub?: string;
  /** Whether a repository that is made is seen by its owner alone. Default false. */
  private?: boolean;
  /** The branch. Default "main". */
  revision?: string;
}

export interface Uploaded {
  /** Of the repository's page. */
  address: string;
  /** The commit's hash. */
  commit: string;
}

const JSON_TYPE = "application/json";
const LFS_TYPE = "application/vnd.git-lfs+json";
const ANSWER = { bytes: 4 << 20, depth: 8, values: 100_000 };
/** The largest file that goes into the commit itself. */
const MOST_REGULAR = 8 << 20;
const MOST_PARTS = 10_000;

/** A file on its way. */
interface Sent {
  path: string;
  bytes: Uint8Array<ArrayBuffer>;
  mode: string;
}

/**
 * Uploads an adapter to a hub as one commit: its files, and a README.md that is made of the card. The adapter is checked first
 * ({@link checkAdapter}). `on_progress` hears of each piece with the status "upload". Throws what the check throws, `bad-option`
 * for what is no repository or token, `io` with the hub's reason, and `cancelled`; the token is in none of the messages.
 */
export async function uploadAdapter(options: UploadOptions): Promise<Uploaded> {
  const { repo, token, files, revision = "main" } = options;
  if (!HUB_ID.test(repo)) throw failure("bad-option", `repo is ${JSON.stringify(repo).slice(0, 120)}, not "owner/name"`);
  if (typeof token !== "string" || !/^[\x21-\x7e]+$/.test(token)) throw failure("bad-option", "token is no token of a hub: it is empty, or has spaces");
  const { inspection, verified } = await checkAdapter(files);
  const readme = new TextEncoder().encode(modelCard(repo, verified.card, inspection));
  const api = new HubApi(options);
  const [owner, name] = repo.split("/");
  await api.post("/api/repos/create", { type: "model", name, organization: owner, private: options.private ?? false }, { allowed: [409] });
  const branch = encodeURIComponent(revision);
  const all = Object.entries({ ...files, "README.md": readme }).map(([path, bytes]) => ({ path, bytes, mode: "regular" }));
  const asked = all.map(({ path, bytes }) => ({ path, size: bytes.length, sample: base64(bytes.subarray(0, 512)) }));
  setModes(all, await api.post(`/api/models/${repo}/preupload/${branch}`, { files: asked }));
  const lines: object[] = [{ key: "header", value: { summary: "Upload an adapter from tabtune", description: "" } }];
  for (const file of all) {
    if (file.mode === "lfs") {
      const oid = await sha256(file.bytes);
      await new LargeFile(api, repo, file, oid).upload(revision);
      lines.push({ key: "lfsFile", value: { path: file.path, algo: "sha256", oid, size: file.bytes.length } });
    } else {
      lines.push({ key: "file", value: { path: file.path, content: base64(file.bytes), encoding: "base64" } });
    }
  }
  const body = lines.map((line) => JSON.stringify(line)).join("\n");
  const answer = await api.post(`/api/models/${repo}/commit/${branch}`, body, { type: "application/x-ndjson" });
  const commit = answer.matching("commitOid", /^[0-9a-f]{40,64}$/, "a commit's hash");
  return { address: `${api.hub}/${repo}`, commit: answer.needed("commitOid", commit) };
}

/** Which files go into the commit, and which before it to where large files lie. */
function setModes(files: Sent[], answer: Fields): void {
  const told = answer.needed("files", answer.list("files", files.length));
  for (const file of files) {
    const fields = told.map((value) => new Fields(PLACE, value)).find((fields) => fields.any("path") === file.path);
    const mode = fields?.matching("uploadMode", /^(lfs|regular)$/, `"lfs" or "regular"`);
    if (!mode || fields?.any("shouldIgnore") === true) throw failure("io", `${file.path}: the hub does not take the file`);
    if (mode === "regular" && file.bytes.length > MOST_REGULAR) throw failure("io", `${file.path}: the hub wants ${file.bytes.length} bytes within a commit`);
    file.mode = mode;
  }
}

const PLACE: Place = { name: "the hub's answer", code: "io" };

/** Requests to one hub, with the token to nowhere else. */
class HubApi {
  /** Without a slash at its end. */
  readonly hub: string;
  readonly report: NonNullable<Asking["on_progress"]>;
  readonly #token: string;
  readonly #asking: Asking;

  constructor({ hub = DEFAULT_HUB, token, signal, on_progress = () => {} }: UploadOptions) {
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
        // A redirect could lead the token elsewhere.
        response = await fetch(address, { method, body, headers: { ...headers, ...authorised }, signal, redirect: "error", credentials: "omit" });
      } catch (thrown) {
        throwIfAborted(signal ?? undefined);
        throw new Passing(place, unanswered(thrown));
      }
      if (response.ok || allowed.includes(response.status)) return response;
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
    const hints: Record<number, string> = { 401: " (the token was refused)", 403: " (the token may not write there)", 404: " (there is no such place, or the token may not see it)" };
    return `the server answered ${response.status}${hints[response.status] ?? ""}${told}`;
  }

  /** An address that something is sent to: https, or where the hub itself is. */
  checked(address: string): string {
    const url = new URL(address, this.hub);
    const is_local = url.protocol === "http:" && /^(localhost|127\.0\.0\.1|\[::1\])$/.test(url.hostname) && new URL(this.hub).protocol === "http:";
    if (url.protocol === "https:" || is_local) return url.href;
    throw failure("bad-option", `nothing is uploaded to ${url.origin}: it has to be https`);
  }
}

/** A file that goes to the hub's storage by Git LFS' batch API, whole or in the parts that the server asks for. */
class LargeFile {
  readonly #api: HubApi;
  readonly #repo: string;
  readonly #file: Sent;
  readonly #oid: string;

  constructor(api: HubApi, repo: string, file: Sent, oid: string) {
    [this.#api, this.#repo, this.#file, this.#oid] = [api, repo, file, oid];
  }

  async upload(revision: string): Promise<void> {
    const object = { oid: this.#oid, size: this.#file.bytes.length };
    const batch = { operation: "upload", transfers: ["basic", "multipart"], hash_algo: "sha256", ref: { name: revision }, objects: [object] };
    const answer = await this.#api.post(`/${this.#repo}.git/info/lfs/objects/batch`, batch, { type: LFS_TYPE });
    const [told] = answer.needed("objects", answer.list("objects", 1));
    const fields = new Fields(PLACE, told);
    const error = fields.fields("error");
    if (error) throw failure("io", `${this.#file.path}: the hub's storage answered ${String(error.any("code")).slice(0, 10)}`);
    const actions = fields.fields("actions");
    const upload = actions?.fields("upload");
    // Without an action the storage has the bytes already.
    if (upload) await this.#send(upload);
    const verify = actions?.fields("verify");
    if (verify) await this.#api.post(hrefOf(verify), object, { type: LFS_TYPE, headers: headersOf(verify) });
  }

  async #send(action: Fields): Promise<void> {
    const { bytes } = this.#file;
    const header = action.fields("header");
    if (header?.any("chunk_size") === undefined) {
      this.#tell(0);
      discard(await this.#api.send("PUT", this.#api.checked(hrefOf(action)), bytes, headersOf(action)));
      this.#tell(bytes.length);
      return;
    }
    const piece = Number(header.any("chunk_size"));
    const numbers = header.names.filter((name) => /^\d+$/.test(name)).sort((one, other) => Number(one) - Number(other));
    const fits = Number.isSafeInteger(piece) && piece > 0 && numbers.length <= MOST_PARTS && numbers.length === Math.ceil(bytes.length / piece);
    if (!fits) throw failure("io", `${this.#file.path}: the hub asks for ${numbers.length} parts of ${piece} bytes, which the file has not`);
    const parts: { partNumber: number; etag: string }[] = [];
    for (const [index, number] of numbers.entries()) {
      this.#tell(index * piece);
      const address = this.#api.checked(header.needed(number, header.line(number, 16_384)));
      const response = await this.#api.send("PUT", address, bytes.subarray(index * piece, (index + 1) * piece), {});
      const etag = response.headers.get("etag");
      discard(response);
      if (etag === null) throw failure("io", `${this.#file.path}: the hub's storage gives no tag of part ${number}`);
      parts.push({ partNumber: Number(number), etag });
    }
    await this.#api.post(hrefOf(action), { oid: this.#oid, parts }, { type: LFS_TYPE });
    this.#tell(bytes.length);
  }

  #tell(loaded: number): void {
    const total = this.#file.bytes.length;
    this.#api.report({ status: "upload", name: this.#repo, file: this.#file.path, loaded, total, progress: (100 * loaded) / total });
  }
}

function hrefOf(action: Fields): string {
  return action.needed("href", action.line("href", 16_384));
}

/** What an action wants sent along. */
function headersOf(action: Fields): Record<string, string> {
  const header = action.fields("header");
  return Object.fromEntries((header?.names ?? []).map((name) => [name, header!.line(name, 16_384)!]));
}

function base64(bytes: Uint8Array): string {
  let text = "";
  for (let from = 0; from < bytes.length; from += 0x8000) text += String.fromCharCode(...bytes.subarray(from, from + 0x8000));
  return btoa(text);
}
