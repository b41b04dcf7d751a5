// What the proxy's tests share: a SuperLink that is played, the proxy before it, and clients that write what no library would.
import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { createServer, request as httpRequest } from "node:http";
import { connect } from "node:net";
import { Journal } from "../journal.mjs";
import { Proxy } from "../proxy.mjs";
import { checkTerms } from "../terms.mjs";

/** Longer than anything takes on a machine that does something else meanwhile. */
const PATIENCE_MS = 120_000;

export const CALL = "/v1/fleet/pull-messages";
export const PUSH = "/v1/fleet/push-object";

/** The fewest terms that there can be. */
export const TERMS = {
  version: 1,
  name: "Recipes of our town",
  operator: "The town library",
  base_model_name_or_path: "HuggingFaceTB/SmolLM2-135M-Instruct",
  lora: { r: 8, lora_alpha: 16, target_modules: ["q_proj", "v_proj"] },
  train: { max_steps: 5, learning_rate: 1e-3 },
  rounds: 3,
};

/** What readTerms makes of a file with TERMS and `more`. */
export function termsOf(more = {}) {
  const value = { ...TERMS, ...more };
  const terms = checkTerms(value);
  return { bytes: Buffer.from(JSON.stringify(value)), terms, enrolled: terms.enrolled };
}

/** A node's public key: the PEM text, and that in base64. */
export function makeKey() {
  const pem = generateKeyPairSync("ec", { namedCurve: "P-384" }).publicKey.export({ type: "spki", format: "pem" });
  return { pem, header: Buffer.from(pem).toString("base64") };
}

/** The headers of a call. The signature is of nobody: only the SuperLink would look at it. */
export function identity(more = {}) {
  return {
    "content-type": "application/protobuf",
    "flwr-public-key": KEY.header,
    "flwr-timestamp": "2026-11-28T09:00:00.123+00:00",
    "flwr-signature": Buffer.alloc(104, 7).toString("base64"),
    ...more,
  };
}

const KEY = makeKey();

/**
 * A SuperLink that records what reaches it: `calls` has { method, path, headers (names and values in turn), bytes, body, whole } of each
 * request; bodies are kept where `keep` says so. `answer(request, response, body)` answers. Resolves to { url, calls, connections, close }.
 */
export async function playSuperlink({ answer = answerOk, keep = true } = {}) {
  const calls = [];
  const server = createServer(async (request, response) => {
    const call = { method: request.method, path: request.url, headers: request.rawHeaders, bytes: 0, whole: false };
    calls.push(call);
    const kept = [];
    try {
      for await (const piece of request) {
        call.bytes += piece.length;
        if (keep) kept.push(piece);
      }
    } catch {
      return;
    }
    call.whole = request.complete;
    call.trailers = request.rawTrailers;
    call.body = Buffer.concat(kept);
    answer(request, response, call.body);
  });
  // Whatever is no request would be seen here. That one is broken off in the middle is none of that.
  const strange = [];
  server.on("clientError", (error, socket) => {
    if (error.code?.startsWith("HPE_") && error.code !== "HPE_INVALID_EOF_STATE") strange.push(error.code);
    socket.destroy();
  });
  server.on("upgrade", (request, socket) => {
    strange.push(`upgrade ${request.url}`);
    socket.destroy();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: new URL(`http://127.0.0.1:${server.address().port}`),
    calls,
    strange,
    connections: () => new Promise((resolve) => server.getConnections((_, count) => resolve(count))),
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
}

export function answerOk(_, response) {
  response.writeHead(200, { "content-type": "application/protobuf" }).end("answer");
}

/** A proxy of `options` before `superlink`, on a free port. Resolves to { origin, port, lines, proxy, close }; `lines` is its log. */
export async function openProxy({ superlink, terms = termsOf(), ...options }) {
  const lines = [];
  const journal = new Journal((line) => lines.push(line));
  const proxy = new Proxy({ terms, superlink: superlink.url, journal, ...options });
  const port = await proxy.listen({ port: 0, host: "127.0.0.1" });
  return { port, lines, journal, proxy, origin: `http://127.0.0.1:${port}`, close: (grace_ms = 0) => proxy.close(grace_ms) };
}

/** A superlink and a proxy that end with the test `t`. */
export async function open(t, { answer, keep, ...options } = {}) {
  const superlink = await playSuperlink({ answer, keep });
  const proxy = await openProxy({ superlink, ...options });
  t.after(async () => {
    await proxy.close();
    await superlink.close();
  });
  return { superlink, proxy };
}

/**
 * One request over a connection of its own, not reused. Resolves to { status, headers, body, json }; `json` is undefined where the
 * body is none.
 */
export function ask(proxy, path, { method = "POST", headers = identity(), body = "", ...more } = {}) {
  const { hostname, port } = new URL(proxy.origin);
  const length = method === "POST" && headers["transfer-encoding"] === undefined && { "content-length": Buffer.byteLength(body) };
  return new Promise((resolve, reject) => {
    const sent = httpRequest({ hostname, port, path, method, headers: { ...length, ...headers }, agent: false, ...more });
    sent.on("error", reject);
    sent.on("response", async (response) => {
      const pieces = [];
      try {
        for await (const piece of response) pieces.push(piece);
      } catch (error) {
        reject(error);
        return;
      }
      const text = Buffer.concat(pieces).toString("latin1");
      resolve({ status: response.statusCode, headers: response.headers, body: text, json: parsed(text) });
    });
    sent.end(body);
  });
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Writes `text` as it is. Resolves to all that came back until the connection closed, or `wait_ms` went by. */
export async function write(port, text, { wait_ms = PATIENCE_MS } = {}) {
  const socket = connect(port, "127.0.0.1");
  let answer = "";
  socket.setEncoding("latin1").on("data", (piece) => (answer += piece));
  socket.on("error", () => {});
  socket.write(text);
  const late = setTimeout(() => socket.destroy(), wait_ms);
  await new Promise((resolve) => socket.once("close", resolve));
  clearTimeout(late);
  return answer;
}

/** The head of a request as it is written, with the identity's headers. */
export function head(line, more = {}) {
  const headers = Object.entries({ host: "federation.example", ...identity(), ...more }).filter(([, value]) => value !== undefined);
  return `${line} HTTP/1.1\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`;
}

/** Resolves as soon as `holds` does; rejects once nobody would wait any longer. */
export async function until(holds, words) {
  const end = Date.now() + PATIENCE_MS;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`waited in vain until ${words}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/**
 * Stops the clock that rates go by until the test `t` is over: how many requests there are room for is then no matter of how fast they
 * come.
 */
export function stopClock(t) {
  const now = performance.now();
  t.mock.method(performance, "now", () => now);
}
