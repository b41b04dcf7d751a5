import { failure } from "../errors.js";
import { HUB_ID } from "../hub/folder.js";
import { discard } from "../hub/request.js";
import type { Asking } from "./bounded.js";
import { sha256 } from "./card.js";
import { HubApi, LFS_TYPE, PLACE } from "./hub-api.js";
import { checkAdapter } from "./inspect.js";
import { Fields } from "./json.js";
import type { ExchangedFiles } from "./limits.js";
import { modelCard } from "./readme.js";

/**
 * The hub's HTTP API by itself: the commit path of @huggingface/hub takes 38 kB after gzip and brings Xet's WebAssembly, while
 * three small files need four requests (https://huggingface.co/docs/hub/api, and Git LFS' batch API).
 */

/** What {@link uploadAdapter} takes. */
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

/** Where an uploaded adapter is. */
export interface Uploaded {
  /** Of the repository's page. */
  address: string;
  /** The commit's hash. */
  commit: string;
}

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
    if (mode === "regular" && file.bytes.length > MOST_REGULAR) {
      throw failure("io", `${file.path}: the hub wants ${file.bytes.length} bytes within a commit`);
    }
    file.mode = mode;
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
