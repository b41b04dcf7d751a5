// A static server for localhost: the same one for the page, the command line and the tests.
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize, sep } from "node:path";
import { pipeline } from "node:stream/promises";

const TYPES = {
  ".css": "text/css",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".json": "application/json",
  ".jsonl": "application/jsonl",
  ".png": "image/png",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
  ".webmanifest": "application/manifest+json",
  ".webp": "image/webp",
};

/**
 * What is served may connect here and to the hub; this holds in workers, where the rows and the engine are. Pages themselves may ask any
 * server that a person names for an adapter or a gallery, and say so in their own policy where they need less.
 */
const policyOf = (name, connects) => [
  "default-src 'self'",
  "script-src 'self' 'wasm-unsafe-eval'",
  ["connect-src 'self'", extname(name) === ".html" ? "https:" : "https://huggingface.co https://*.huggingface.co https://*.hf.co", ...connects].join(" "),
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");

/** What makes a page cross-origin isolated: only there may workers share memory, so the CPU engine has one for each core. */
const ISOLATION = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

/**
 * What answers requests from `mounts`. A mount maps an address to a folder or file on disk (a string), to
 * bytes in memory (a Uint8Array) or to nothing (null); one that ends with "/" is a folder, and the
 * longest match wins. Mounts may be added later. With `isolated`, pages are cross-origin isolated. `connects` are places that pages
 * may talk to beside the usual ones. `refuse` tells what cannot be served; each path that is asked for goes into `requests`.
 */
export function answering(mounts, { isolated = false, connects = [], refuse = refusePlainly, requests } = {}) {
  const answer = async (request, response) => {
    const path = pathOf(request.url);
    if (path === undefined) {
      refuse(response, 400, "malformed address");
      return;
    }
    requests?.push(path);
    response.setHeader("Cache-Control", "no-store");
    if (isolated) response.setHeaders(new Map(Object.entries(ISOLATION)));
    response.setHeader("X-Content-Type-Options", "nosniff");
    const found = await find(mounts, path);
    response.setHeader("Content-Security-Policy", policyOf(found?.name ?? "", connects));
    if (!found) {
      refuse(response, 404, "not found");
      return;
    }
    response.setHeader("Content-Type", TYPES[extname(found.name)] ?? "application/octet-stream");
    response.setHeader("Content-Length", found.size);
    if (found.bytes || request.method === "HEAD") response.end(found.bytes);
    // The file is closed too where the other side goes away in the middle of it.
    else await pipeline(createReadStream(found.name), response);
  };
  // Any page of the web can send requests here, so none of them may end the process.
  return (request, response) => {
    answer(request, response).catch(() => response.destroy());
  };
}

/** Serves `mounts` on localhost. Resolves to { origin, requests, close }; `requests` lists the path of every request so far. */
export async function serve(mounts, { port = 0, isolated = false, connects } = {}) {
  const requests = [];
  const server = createServer(answering(mounts, { isolated, connects, requests }));
  await new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "localhost", resolve);
  });
  return {
    origin: `http://localhost:${server.address().port}`,
    requests,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

/** The path that a request asks for, decoded; undefined where it is malformed. */
export function pathOf(url) {
  try {
    return decodeURIComponent(new URL(`http://localhost${url}`).pathname);
  } catch {
    return undefined;
  }
}

function refusePlainly(response, status, words) {
  response.writeHead(status, { "Content-Type": "text/plain" }).end(`${words}\n`);
}

async function find(mounts, path) {
  const matching = Object.keys(mounts).filter((known) => (known.endsWith("/") ? path.startsWith(known) : path === known));
  const prefix = matching.sort((a, b) => b.length - a.length)[0];
  const target = mounts[prefix] ?? null;
  if (target === null) return undefined;
  if (target instanceof Uint8Array) return { name: path, size: target.length, bytes: target };
  let name = target;
  if (prefix.endsWith("/")) {
    const rest = path.slice(prefix.length) || "index.html";
    name = normalize(join(target, rest.endsWith("/") ? `${rest}index.html` : rest));
    if (!name.startsWith(normalize(target + sep))) return undefined;
  }
  const entry = await stat(name).catch(() => undefined);
  return entry?.isFile() ? { name, size: entry.size } : undefined;
}
