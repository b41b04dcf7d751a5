// A model hub on localhost: its pages and lists on one origin, its large files on another, and switches
// that make it misbehave.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join, normalize } from "node:path";
import { paths } from "../../tools/lib/paths.mjs";
import { pathOf } from "../../tools/lib/server.mjs";
import { uploads } from "./hub-upload.mjs";

/** The hexadecimal sum of all pieces. */
export const sum = (algorithm, ...pieces) => {
  const hash = createHash(algorithm);
  for (const piece of pieces) hash.update(piece);
  return hash.digest("hex");
};

/** What the hub sends with everything, so that pages of other origins may read it. */
const OPEN = {
  "Access-Control-Allow-Origin": "*",
  "Access-Control-Allow-Headers": "Authorization, Content-Type",
  "Access-Control-Expose-Headers": "ETag, Link, Content-Range, Retry-After",
};

/** The CDN allows no header that has to be asked for, and exposes none. */
const PLAIN = { "Access-Control-Allow-Origin": "*" };

/** What it allows where something is put there. */
const TAKING = { "Access-Control-Allow-Methods": "PUT", "Access-Control-Allow-Headers": "X-Kept" };

async function listen(answer) {
  const requests = [];
  const server = createServer((request, response) => {
    const path = pathOf(request.url);
    if (path === undefined) {
      response.writeHead(400).end();
      return;
    }
    const url = new URL(request.url, "http://localhost");
    const { range = null, authorization = null } = request.headers;
    requests.push({ method: request.method, path, range, authorization });
    answer({ request, response, path, query: url.searchParams, range });
  });
  await new Promise((resolve) => server.listen(0, "localhost", resolve));
  return {
    origin: `http://localhost:${server.address().port}`,
    requests,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Sends a file, or what the switches make of it. */
function send({ request, response, path, range }, bytes, headers, faults) {
  const name = path.slice(path.lastIndexOf("/") + 1);
  const asked = faults.ranges === false ? null : /^bytes=(\d+)-(\d*)$/.exec(range ?? "");
  const start = asked ? Number(asked[1]) : 0;
  const end = asked?.[2] ? Math.min(Number(asked[2]) + 1, bytes.length) : bytes.length;
  if (start >= bytes.length && asked) {
    response.writeHead(416, { ...headers, "Content-Range": `bytes */${bytes.length}` }).end();
    return;
  }
  let body = Buffer.from(bytes.subarray(start, end));
  if (faults.corrupt?.name === name && faults.corrupt.at >= start && faults.corrupt.at < end) body[faults.corrupt.at - start] ^= 1;
  if (faults.shorten?.name === name) body = body.subarray(0, body.length - faults.shorten.by);
  const length = { "Content-Length": String(body.length) };
  const part = asked ? { "Content-Range": `bytes ${start}-${end - 1}/${bytes.length}` } : {};
  response.writeHead(asked ? 206 : 200, { "Content-Type": "application/octet-stream", ...headers, ...length, ...part });
  if (request.method === "HEAD") {
    response.end();
    return;
  }
  const cut = faults.cut?.name === name && faults.cut.times > 0 ? faults.cut : undefined;
  if (!cut) {
    response.end(body);
    return;
  }
  cut.times--;
  cut.then?.();
  const sent = body.subarray(0, cut.after);
  response.write(sent);
  // A connection that hangs is for tests that end the download themselves.
  if (!cut.hang) void cut.taken({ name, range, bytes: sent.length }).finally(() => response.destroy());
}

/**
 * Starts a hub with one model. `model` is { id, sha, revision, files: { name: bytes }, lfs: [name] } and
 * may be changed while the hub runs; so may `faults`:
 *
 *   ranges: false                     answers any Range request with the whole file
 *   shorten: { name, by }             says and sends fewer bytes than the list says
 *   cut: { name, after, times, taken, hang, then }
 *                                     breaks off after so many bytes of a body, once `taken` has resolved: what a browser
 *                                     has not read by then, it loses. Or hangs. Calls `then`
 *   corrupt: { name, at }             flips a bit
 *   refuse: [status, headers][]       the next answers of the hub
 *   token                             what must be sent along, else 401
 *   down: true                        drops every connection to the hub
 *   html: true                        answers for missing files of `/plain/` with a page
 *
 * The same files lie on the hub's origin under /plain/, as on any server, with `etag` where that is set. The hub takes uploads to its
 * model, as hub-upload.mjs has it.
 */
export async function startHub(model) {
  const faults = {};
  const origins = {};
  const taking = uploads(model, faults, origins);
  /** An answer that takes its time; where it fails, the test hears of it by the status. */
  const taken = (working, response) => working.catch((thrown) => response.writeHead(500, OPEN).end(JSON.stringify({ error: String(thrown) })));
  const cdn = await listen((exchange) => {
    const { request, response, path } = exchange;
    if (request.method === "PUT") {
      taken(taking.cdn(exchange, PLAIN), response);
      return;
    }
    if (request.method === "OPTIONS") {
      const is_upload = request.headers["access-control-request-method"] === "PUT";
      // Firefox and WebKit ask for no header where the hub sent them here with a token, which they have taken off by then.
      const is_refused = !is_upload && request.headers["access-control-request-headers"] !== undefined;
      response.writeHead(is_refused ? 405 : 204, { ...PLAIN, ...(is_upload && TAKING) }).end();
      return;
    }
    send(exchange, model.files[path.slice(1)], PLAIN, faults);
  });
  const hub = await listen((exchange) => {
    const { request, response, path, query } = exchange;
    const json = (value, headers = {}) =>
      response.writeHead(200, { ...OPEN, ...headers, "Content-Type": "application/json" }).end(JSON.stringify(value));
    const refuse = (status, headers = {}) => response.writeHead(status, { ...OPEN, ...headers }).end("refused");
    if (faults.down) {
      response.destroy();
      return;
    }
    if (request.method === "OPTIONS") {
      refuse(204);
      return;
    }
    const refused = faults.refuse?.shift();
    if (refused) {
      refuse(...refused);
      return;
    }
    if (path.startsWith("/plain/")) {
      const bytes = model.files[path.slice("/plain/".length)];
      if (bytes) send(exchange, bytes, { ...OPEN, ...(model.etag && { ETag: model.etag }) }, faults);
      else if (faults.html) response.writeHead(200, { ...OPEN, "Content-Type": "text/html" }).end("<!doctype html>");
      else refuse(404);
      return;
    }
    if (faults.token && request.headers.authorization !== `Bearer ${faults.token}`) {
      refuse(request.headers.authorization ? 403 : 401);
      return;
    }
    if (request.method === "POST") {
      taken(taking.hub(exchange, OPEN).then((answered) => answered === false && refuse(404)), response);
      return;
    }
    const api = `/api/models/${model.id}`;
    if (path === `${api}/revision/${model.revision}` || path === `${api}/revision/${model.sha}`) {
      json({ sha: model.sha });
    } else if (path === `${api}/tree/${model.sha}`) {
      // One file a page, so that following the pages is tested by every list.
      const names = Object.keys(model.files);
      const at = Number(query.get("cursor") ?? 0);
      const next = `<${hub.origin}${api}/tree/${model.sha}?recursive=false&cursor=${at + 1}>; rel="next"`;
      json([listed(names[at]), { type: "directory", path: "onnx", size: 0, oid: "0" }], at + 1 < names.length ? { Link: next } : {});
    } else if (path.startsWith(`/${model.id}/resolve/${model.sha}/`)) {
      const name = path.slice(`/${model.id}/resolve/${model.sha}/`.length);
      if (!model.files[name]) refuse(404);
      else if (model.lfs.includes(name)) refuse(302, { Location: `${cdn.origin}/${name}?signed=1` });
      else send(exchange, model.files[name], OPEN, faults);
    } else {
      refuse(404);
    }
  });
  const listed = (path) => {
    const bytes = model.files[path];
    const item = { type: "file", path, size: bytes.length, oid: sum("sha1", `blob ${bytes.length}\0`, bytes) };
    return model.lfs.includes(path) ? { ...item, lfs: { oid: sum("sha256", bytes), size: bytes.length, pointerSize: 130 } } : item;
  };
  Object.assign(origins, { hub: hub.origin, cdn: cdn.origin });
  return {
    hub,
    cdn,
    faults,
    commits: taking.commits,
    created: taking.created,
    /** Forgets faults and what was asked. */
    reset() {
      for (const name of Object.keys(faults)) delete faults[name];
      hub.requests.length = 0;
      cdn.requests.length = 0;
    },
    close: () => Promise.all([hub.close(), cdn.close()]),
  };
}

/**
 * The page that opens folders: the package's modules as the compiler leaves them. `globalThis.taken` has how many bytes were read of
 * the answer to each request, by its file and range.
 */
const PAGE = `<!doctype html>
<script type="module">
  globalThis.taken = {};
  const { fetch } = globalThis;
  globalThis.fetch = async (address, options) => {
    const response = await fetch(address, options);
    const key = [String(address).split("/").at(-1), options?.headers?.Range ?? null].join();
    const read = response.body && response.body.getReader.bind(response.body);
    if (read) response.body.getReader = () => counted(read(), key);
    return response;
  };
  const counted = (reader, key) => {
    const { read } = reader;
    globalThis.taken[key] = 0;
    reader.read = async () => {
      const got = await read.call(reader);
      globalThis.taken[key] += got.value?.length ?? 0;
      return got;
    };
    return reader;
  };
  import { TabtuneError } from "/build/errors.js";
  import { folderOf, openFolder } from "/build/files.js";
  import { cachedModels, forgetModel } from "/build/hub/models.js";
  import { keepLargeDownloads } from "/build/hub/persist.js";
  globalThis.tabtune = { TabtuneError, folderOf, openFolder, cachedModels, forgetModel, keepLargeDownloads };
</script>`;

/** The engine opens folders in a worker: this one answers with what it read, or with the error's text. */
const WORKER = `
  import { openFolder } from "/build/files.js";
  onmessage = async ({ data: { folder, name, start, len } }) => {
    postMessage(await openFolder(folder).read(name, start, len).catch(String));
  };`;

const FOLDERS = { "/build/": join(paths.root, "www/package/build"), "/node_modules/": join(paths.root, "node_modules") };

/** Serves that page, on an origin of its own and without a policy that would keep it from the hub. */
export function startPage() {
  return listen(async ({ response, path }) => {
    const send = (type, text) => response.writeHead(200, { "Content-Type": type }).end(text);
    if (path === "/") return send("text/html", PAGE);
    if (path === "/worker.js") return send("text/javascript", WORKER);
    const prefix = Object.keys(FOLDERS).find((known) => path.startsWith(known));
    const file = prefix && join(FOLDERS[prefix], normalize(path.slice(prefix.length - 1)));
    const text = file && (await readFile(file, "utf8").catch(() => undefined));
    if (text === undefined) return response.writeHead(404).end();
    // Bundlers find packages by name, and workers have no import maps.
    return send("text/javascript", text.replaceAll('from "@noble/', 'from "/node_modules/@noble/'));
  });
}
