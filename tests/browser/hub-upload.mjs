// The half of the played hub that takes a repository's files: it is made, told what is to come, given large files by Git LFS' batch
// API, and then the commit, after which the hub lists and sends what was uploaded.
import { sum } from "./hub-server.mjs";

/** The most bytes of a request. */
const MOST_BYTES = 64 << 20;

async function bodyOf(request) {
  const pieces = [];
  let bytes = 0;
  for await (const piece of request) {
    bytes += piece.length;
    if (bytes > MOST_BYTES) throw new Error("the request is too long");
    pieces.push(piece);
  }
  return Buffer.concat(pieces);
}

/**
 * What takes uploads for a hub's `model`. Switches among `faults`:
 *
 *   exists: true           the repository is there already
 *   part_bytes             large files are asked for in parts of so many bytes
 *   lose: true             the storage keeps nothing, which the commit finds out
 *
 * `commits` lists the header of each commit, and `created` what repositories were asked for.
 */
export function uploads(model, faults, origins) {
  const stored = new Map();
  const parts = new Map();
  const commits = [];
  const created = [];

  /** Answers what belongs to an upload; false for anything else. */
  async function hub({ request, response, path, query }, headers) {
    const json = (value, status = 200) => response.writeHead(status, { ...headers, "Content-Type": "application/json" }).end(JSON.stringify(value));
    const body = request.method === "POST" ? await bodyOf(request) : undefined;
    if (path === "/api/repos/create") {
      created.push(JSON.parse(body));
      return json(faults.exists ? { error: "You already created this model repo" } : { url: `${origins.hub}/${model.id}` }, faults.exists ? 409 : 200);
    }
    if (path === `/api/models/${model.id}/preupload/main`) {
      const files = JSON.parse(body).files.map(({ path, size, sample }) => {
        if (Buffer.from(sample, "base64").length !== Math.min(size, 512)) throw new Error(`${path}: the sample has another length`);
        return { path, uploadMode: path.endsWith(".safetensors") ? "lfs" : "regular", shouldIgnore: false };
      });
      return json({ files });
    }
    if (path === `/${model.id}.git/info/lfs/objects/batch`) {
      const { operation, transfers, objects } = JSON.parse(body);
      if (operation !== "upload" || !transfers.includes("basic")) return json({ error: "unexpected" }, 422);
      return json({ transfer: faults.part_bytes ? "multipart" : "basic", objects: objects.map(actionsFor) });
    }
    if (path === "/api/complete_multipart") {
      const { oid, parts: told } = JSON.parse(body);
      const known = parts.get(oid) ?? [];
      const fits = told.length === known.length && told.every(({ partNumber, etag }, index) => partNumber === index + 1 && etag === known[index].etag);
      if (!fits) return json({ error: "the parts are not those that came" }, 400);
      keep(oid, Buffer.concat(known.map(({ bytes }) => bytes)));
      return json({});
    }
    if (path === "/api/verify") {
      const { oid, size } = JSON.parse(body);
      return json({}, stored.get(oid)?.length === size || faults.lose ? 200 : 404);
    }
    if (path === `/api/models/${model.id}/commit/main`) {
      if (request.headers["content-type"] !== "application/x-ndjson") return json({ error: "no ndjson" }, 415);
      const [header, ...files] = body.toString().split("\n").map((line) => JSON.parse(line));
      for (const { key, value } of files) {
        const bytes = key === "file" ? Buffer.from(value.content, value.encoding) : stored.get(value.oid);
        if (!bytes || (key === "lfsFile" && bytes.length !== value.size)) return json({ error: `${value.path} was not uploaded` }, 400);
        model.files[value.path] = bytes;
        if (key === "lfsFile" && !model.lfs.includes(value.path)) model.lfs.push(value.path);
      }
      commits.push(header.value);
      model.sha = sum("sha1", body);
      return json({ success: true, commitOid: model.sha, commitUrl: `${origins.hub}/${model.id}/commit/${model.sha}` });
    }
    return false;
  }

  function actionsFor({ oid, size }) {
    if (stored.has(oid)) return { oid, size };
    const verify = { href: `${origins.hub}/api/verify`, header: {} };
    if (!faults.part_bytes) return { oid, size, actions: { upload: { href: `${origins.cdn}/store/${oid}?signed=1`, header: { "X-Kept": "yes" } }, verify } };
    const count = Math.ceil(size / faults.part_bytes);
    const addresses = Array.from({ length: count }, (_, index) => [String(index + 1).padStart(5, "0"), `${origins.cdn}/part/${oid}/${index}?signed=1`]);
    const header = { chunk_size: String(faults.part_bytes), ...Object.fromEntries(addresses) };
    return { oid, size, actions: { upload: { href: `${origins.hub}/api/complete_multipart`, header }, verify } };
  }

  /** What is put where large files lie. */
  async function cdn({ request, response, path }, headers) {
    const [, kind, oid, index] = path.split("/");
    const bytes = await bodyOf(request);
    if (kind === "store") keep(oid, bytes);
    const etag = `"${sum("md5", bytes)}"`;
    if (kind === "part") parts.set(oid, Object.assign(parts.get(oid) ?? [], { [index]: { bytes, etag } }));
    response.writeHead(200, { ...headers, "Access-Control-Expose-Headers": "ETag", ETag: etag }).end();
  }

  function keep(oid, bytes) {
    if (sum("sha256", bytes) !== oid) throw new Error(`${oid}: the sum is ${sum("sha256", bytes)}`);
    if (!faults.lose) stored.set(oid, bytes);
  }

  return { hub, cdn, commits, created };
}
