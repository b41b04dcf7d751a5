// What gets through the proxy, as what, and what does not.
import assert from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { FLEET_PATHS } from "../fleet.mjs";
import { ask, CALL, head, identity, makeKey, open, PUSH, termsOf, write } from "./support.mjs";

const PATHS = [
  "register-node", "activate-node", "send-node-heartbeat", "pull-messages", "pull-object", "confirm-message-received",
  "push-messages", "push-object", "deactivate-node", "unregister-node", "get-run",
].map((name) => `/v1/fleet/${name}`);

function assertRefused({ status, headers, json }, wanted_status, code, message) {
  assert.equal(status, wanted_status, JSON.stringify(json));
  assert.deepEqual(Object.keys(json), ["code", "message"]);
  assert.equal(json.code, code);
  assert.match(json.message, message);
  assert.equal(headers["content-type"], "application/json");
}

test("the eleven calls of a node reach the SuperLink as they are, and its answers the node", async (t) => {
  const { superlink, proxy } = await open(t);
  assert.deepEqual([...FLEET_PATHS.keys()].sort(), [...PATHS].sort());
  for (const path of PATHS) {
    const body = Buffer.from([0, 1, 255, ...Buffer.from(path)]);
    const { status, headers, body: answer } = await ask(proxy, path, { body });
    assert.deepEqual([status, headers["content-type"], answer], [200, "application/protobuf", "answer"]);
    assert.deepEqual(superlink.calls.at(-1).body, body);
  }
  assert.deepEqual(superlink.calls.map(({ method, path }) => [method, path]), PATHS.map((path) => ["POST", path]));
});

test("the SuperLink sees the five headers of a call, what HTTP needs, and no others", async (t) => {
  const { superlink, proxy } = await open(t);
  const sent = identity({
    "content-type": "Application/Protobuf; charset=utf-8", "x-forwarded-for": "10.0.0.1", "x-forwarded-host": "evil.example", cookie: "a=b",
    authorization: "Bearer x", "flwr-component": "superlink", connection: "close, flwr-signature", te: "trailers",
    origin: "https://app.example",
  });
  assert.equal((await ask(proxy, CALL, { headers: sent, body: "12345" })).status, 200);
  const { headers } = superlink.calls[0];
  const seen = Object.fromEntries(headers.flatMap((name, index) => (index % 2 === 0 ? [[name.toLowerCase(), headers[index + 1]]] : [])));
  assert.deepEqual(seen, {
    ...identity(), "content-length": "5", host: superlink.url.host, connection: "close",
  });
});

test("of the SuperLink's answer the status, type and body come back", async (t) => {
  const more = { server: "uvicorn", "set-cookie": "a=b", "www-authenticate": "x" };
  const answer = (_, response) => response.writeHead(401, { "content-type": "application/json", ...more }).end('{"detail":"no"}');
  const { proxy } = await open(t, { answer });
  const { status, headers, body } = await ask(proxy, CALL);
  assert.deepEqual([status, body], [401, '{"detail":"no"}']);
  const own = ["cache-control", "connection", "content-type", "date", "transfer-encoding", "x-content-type-options"];
  assert.deepEqual(Object.keys(headers).sort(), own);
});

test("nothing but a POST to exactly such a path is passed on", async (t) => {
  const { superlink, proxy } = await open(t);
  const elsewhere = [
    "/v1/control/start-run", "/v1/control/list-runs", "/v1/runtime/push-object", "/docs", "/openapi.json", "/", "/v1/fleet", "/v1/fleet/",
    "/v1/fleet/get-fab", "/v1/fleet/pull-messages/", "/v1/fleet/pull-messages?x=1", "/v1/fleet/pull-messages?", "/v1/fleet//pull-messages",
    "//v1/fleet/pull-messages", "/v1/fleet/pull%2dmessages", "/v1/fleet/%2e%2e/control/start-run", "/v1/fleet/../control/start-run",
    "/v1/Fleet/pull-messages", "/V1/FLEET/PULL-MESSAGES", "/v1/fleet/pull-messages;x", "/v1/fleet/pull-messages%00",
    "/v1/fleet\\pull-messages",
    "/v1/fleet/pull-messages#x", "/./v1/fleet/pull-messages", "http://127.0.0.1/v1/fleet/pull-messages", "*",
    `${superlink.url}v1/control/start-run`, "/api/v1/fleet/pull-messages", "/__proto__", "/constructor",
  ];
  for (const path of elsewhere) assertRefused(await ask(proxy, path), 404, "not-found", /nothing at this address/);
  for (const method of ["GET", "HEAD", "PUT", "DELETE", "PATCH", "PROPFIND", "TRACE"]) {
    const answer = await ask(proxy, CALL, { method });
    assert.equal(answer.status, 405, method);
    assert.equal(answer.headers.allow, "POST, OPTIONS");
    if (method !== "HEAD") assertRefused(answer, 405, "bad-request", /POST only/);
  }
  const absolute = await write(proxy.port, head(`POST http://127.0.0.1${CALL}`, { "content-length": 0, connection: "close" }));
  assert.match(absolute, /^HTTP\/1.1 404 /);
  assert.match(await write(proxy.port, `CONNECT ${superlink.url.host} HTTP/1.1\r\nhost: x\r\n\r\n`), /^HTTP\/1.1 400 [^]*"bad-request"/);
  const upgrade = await ask(proxy, CALL, { headers: identity({ connection: "upgrade", upgrade: "websocket" }) });
  assertRefused(upgrade, 400, "bad-request", /not upgraded/);
  assert.deepEqual(superlink.calls, []);
});

test("a call without its headers, its type or its length is refused, saying which", async (t) => {
  const { superlink, proxy } = await open(t);
  for (const name of ["flwr-public-key", "flwr-timestamp", "flwr-signature"]) {
    const { [name]: _, ...rest } = identity();
    assertRefused(await ask(proxy, CALL, { headers: rest }), 400, "bad-request", new RegExp(`${name} is missing`));
    for (const value of ["", "a b", "a, b", "ä", "a".repeat(1100), `${identity()[name]}\t`.repeat(2)]) {
      assertRefused(await ask(proxy, CALL, { headers: { ...rest, [name]: value } }), 400, "bad-request", new RegExp(name));
    }
    const twice = await ask(proxy, CALL, { headers: { ...rest, [name]: [identity()[name], identity()[name]] } });
    assertRefused(twice, 400, "bad-request", /malformed/);
  }
  for (const type of ["application/json", "text/plain", "application/protobufs", ""]) {
    assertRefused(await ask(proxy, CALL, { headers: identity({ "content-type": type }) }), 415, "bad-request", /application\/protobuf/);
  }
  assertRefused(await ask(proxy, CALL, { headers: identity({ "content-encoding": "gzip" }) }), 415, "bad-request", /content-encoding/);
  const chunked = await ask(proxy, CALL, { headers: identity({ "transfer-encoding": "chunked" }), body: "abc" });
  assertRefused(chunked, 411, "bad-request", /content-length/);
  const none = await write(proxy.port, head(`POST ${CALL}`, { connection: "close" }));
  assert.match(none, /^HTTP\/1.1 411 [^]*content-length is missing/);
  const trailed = await write(proxy.port, head(`POST ${CALL}`, { "content-length": 0, trailer: "x-more", connection: "close" }));
  assert.match(trailed, /^HTTP\/1.1 411 [^]*trailers/);
  assert.match(await write(proxy.port, `POST ${CALL} HTTP/1.1\r\nconnection: close\r\n\r\n`), /^HTTP\/1.1 400 [^]*host is missing/);
  assertRefused(await ask(proxy, CALL, { headers: identity({ expect: "a-miracle" }) }), 417, "bad-request", /100-continue/);
  const with_body = await ask(proxy, "/federation.json", { method: "GET", headers: { "content-length": 3 }, body: "abc" });
  assertRefused(with_body, 400, "bad-request", /POST can have a body/);
  assert.deepEqual(superlink.calls, []);
});

test("a body is as large as its path allows, and no larger", async (t) => {
  const { superlink, proxy } = await open(t);
  for (const [path, most] of [[PUSH, 5_242_880 + 65_536], [CALL, 1 << 20], ["/v1/fleet/push-messages", 1 << 20]]) {
    assert.equal((await ask(proxy, path, { body: Buffer.alloc(most, 1) })).status, 200);
    assert.equal(superlink.calls.at(-1).bytes, most);
    const before = superlink.calls.length;
    const refused = await ask(proxy, path, { body: Buffer.alloc(most + 1) });
    assertRefused(refused, 413, "too-large", new RegExp(`${most + 1} bytes; at most ${most}`));
    assert.equal(superlink.calls.length, before);
  }
  // What nobody would read to its end is not waited for.
  assert.match(await write(proxy.port, head(`POST ${PUSH}`, { "content-length": 1e12 })), /^HTTP\/1.1 413 [^]*Connection: close/);
});

test("who asks first whether a body is welcome learns it before sending it", async (t) => {
  const { superlink, proxy } = await open(t);
  const asked = (path, length) => head(`POST ${path}`, { "content-length": length, expect: "100-continue", connection: "close" });
  assert.match(await write(proxy.port, `${asked(CALL, 3)}abc`), /^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 200 OK/);
  assert.match(await write(proxy.port, asked(CALL, 2 << 20)), /^HTTP\/1.1 413 /);
  assert.equal(superlink.calls.length, 1);
});

test("where the terms list keys, others are told how to join", async (t) => {
  const [ours, other] = [makeKey(), makeKey()];
  // Editors and shells take the last line feed away.
  const { superlink, proxy } = await open(t, { terms: termsOf({ enrolled: [ours.pem.trim()] }) });
  const as = (header) => ask(proxy, CALL, { headers: identity({ "flwr-public-key": header }) });
  assert.equal((await as(ours.header)).status, 200);
  const encoded = (text) => Buffer.from(text).toString("base64");
  // The same key in another spelling would be another node to the SuperLink.
  const spellings = [ours.pem.trim(), `${ours.pem}\n`, ours.pem.replaceAll("\n", "\r\n")].map(encoded);
  for (const header of [other.header, ...spellings, "AAAA"]) {
    assertRefused(await as(header), 403, "not-enrolled", /Ask the operator to add your node's public key/);
  }
  assert.equal(superlink.calls.length, 1);
});

test("the terms and the page are served, isolated, and nothing beside them", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "tabtune-proxy-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await writeFile(join(folder, "index.html"), "<title>page</title>");
  await writeFile(join(folder, "federation.json"), "not these");
  await writeFile(`${folder}.secret`, "secret");
  t.after(() => rm(`${folder}.secret`));
  const terms = termsOf({ purpose: "Brötchen" });
  const { superlink, proxy } = await open(t, { terms, page: folder });
  const get = (path, method = "GET") => ask(proxy, path, { method, headers: {} });
  const told = await get("/federation.json");
  assert.deepEqual([told.status, told.headers["content-type"], told.json.rounds], [200, "application/json", 3]);
  assert.deepEqual(Buffer.from(told.body, "latin1"), terms.bytes);
  assert.equal((await get("/federation.json", "HEAD")).headers["content-length"], String(terms.bytes.length));
  const page = await get("/");
  assert.equal(page.body, "<title>page</title>");
  const isolation = ["opener", "embedder"].map((who) => page.headers[`cross-origin-${who}-policy`]);
  assert.deepEqual(isolation, ["same-origin", "require-corp"]);
  const beside = `..%2f${folder.split("/").at(-1)}.secret`;
  for (const path of ["/absent", `/${beside}`, `/%2e%2e/${beside}`, "/..%2f..%2fetc/passwd", "/%00", "/v1/control/list-runs"]) {
    assertRefused(await get(path), 404, "not-found", /not found/);
  }
  assertRefused(await get("/%ff"), 400, "bad-request", /malformed/);
  assert.deepEqual(superlink.calls, []);
});

test("pages of the origins that are listed may call, and read what they are told; others may not", async (t) => {
  const { superlink, proxy } = await open(t, { origins: ["https://app.example.org"] });
  const from = (origin, path, method) => ask(proxy, path, { method, headers: { ...(method === "POST" && identity()), origin } });
  for (const [path, method] of [[CALL, "POST"], ["/federation.json", "GET"]]) {
    const { status, headers } = await from("https://app.example.org", path, "OPTIONS");
    assert.equal(status, 204);
    assert.deepEqual(
      ["origin", "methods", "headers"].map((what) => headers[`access-control-allow-${what}`]),
      ["https://app.example.org", method, "content-type, flwr-public-key, flwr-timestamp, flwr-signature"],
    );
    assert.equal(headers.vary, "Origin");
  }
  const answered = await from("https://app.example.org", CALL, "POST");
  assert.deepEqual([answered.status, answered.headers["access-control-allow-origin"]], [200, "https://app.example.org"]);
  assert.equal(answered.headers["access-control-expose-headers"], "date, retry-after");
  const refused = await ask(proxy, CALL, { headers: { origin: "https://app.example.org" } });
  assert.deepEqual([refused.status, refused.headers["access-control-allow-origin"]], [415, "https://app.example.org"]);
  const app = "https://app.example.org";
  for (const origin of ["https://evil.example", `${app}.evil.example`, "http://app.example.org", "null", `${app}:444`]) {
    assertRefused(await from(origin, CALL, "OPTIONS"), 403, "bad-request", /--origin/);
    assert.equal((await from(origin, CALL, "POST")).headers["access-control-allow-origin"], undefined);
  }
  assert.ok(superlink.calls.every(({ method }) => method === "POST"));
});

test("what cannot be answered is told as unavailable, once in the log", async (t) => {
  const { superlink, proxy } = await open(t);
  await superlink.close();
  for (let time = 0; time < 3; time += 1) {
    const answer = await ask(proxy, PUSH, { body: Buffer.alloc(3 << 20) });
    assertRefused(answer, 503, "unavailable", /cannot be reached/);
    assert.equal(answer.headers["retry-after"], "5");
  }
  const told = proxy.lines.map((line) => line.replace(/^\S+ /, ""));
  assert.deepEqual(told, ["the SuperLink cannot be reached (ECONNREFUSED); is it running?"]);
});

test("an answer that is none of the Fleet API's is not passed on", async (t) => {
  const answer = (_, response) => response.writeHead(200, { "content-type": "text/html" }).end("<script>");
  const { proxy } = await open(t, { answer });
  assertRefused(await ask(proxy, CALL), 502, "unavailable", /not Flower's Fleet API/);
});
