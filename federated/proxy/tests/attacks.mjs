// What nobody should send, by a seed. Each kind makes one attack: bytes that are written to a fresh connection, and how that goes on.
//   text    what is written at first
//   more    a piece that is written again and again, as long as the other side takes it, up to MOST_BYTES
//   wait    milliseconds after which the connection is torn down, if the proxy has not closed it
//   unread  nothing that comes back is read
//   legal   a call is in it that may reach the SuperLink, if only in part
import { createHash } from "node:crypto";
import { drawing } from "../../../tools/lib/drawing.mjs";
import { head, identity } from "./support.mjs";

/** More than any limit, so that whoever is read without one is noticed. */
export const MOST_BYTES = 24 << 20;

const CALLS = ["pull-messages", "push-object", "register-node", "get-run"].map((name) => `/v1/fleet/${name}`);
const OTHERS = [
  "/v1/control/start-run", "/v1/control/stop-run", "/v1/control/list-runs", "/v1/runtime/push-object", "/v1/runtime/pull-messages", "/docs",
  "/openapi.json", "/v1/fleet/get-fab", "/", "/v1/responses",
];
const METHODS = ["GET", "HEAD", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "SEARCH", "M-SEARCH", "LINK", "post", "POSTX", "P\0ST"];

/** What a parser goes by. */
const MARKS = ["\r\n", "\n", "\0", " ", ":", "\r\n\r\n", "transfer-encoding: chunked\r\n", "content-length: 50\r\n"];

/** The first `count` attacks of a seed: { kind, number, … } as above. Each carries its number in the place of a node's key. */
export function* attacksOf(seed, count) {
  const draw = drawing(seed);
  const kinds = Object.entries(KINDS);
  for (let number = 0; number < count; number += 1) {
    // Every kind has its turn, as often as every other.
    const [kind, make] = kinds[number % kinds.length];
    const headOf = (line, more = {}) => head(line, { "flwr-public-key": keyOf(number), ...more });
    yield { kind, number, ...make({ draw, pick: (list) => list[draw(list.length)], headOf }) };
  }
}

function keyOf(number) {
  const sum = createHash("sha256").update(String(number)).digest("hex").slice(0, 16);
  return Buffer.from(`attack ${number} ${sum}`).toString("base64");
}

/** The number of the attack that a call with this `flwr-public-key` is of; undefined where the key is no longer what it was. */
export function numberIn(key) {
  const number = Number(/^attack (\d+) /.exec(Buffer.from(key, "base64").toString())?.[1]);
  return keyOf(number) === key ? number : undefined;
}

/** A call to another interface, as it would stand alone. */
const hidden = (pick) => `POST ${pick(OTHERS)} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n`;

const KINDS = {
  "request lines"({ draw, pick }) {
    const noise = Buffer.from(Array.from({ length: 1 + draw(200) }, () => draw(256))).toString("latin1");
    const path = pick([...CALLS, ...OTHERS]);
    return {
      text: pick([
        noise, `${noise}\r\n\r\n`, `POST ${path}\r\n\r\n`, `POST ${path} HTTP/9.9\r\n\r\n`,
        `POST  ${path}  HTTP/1.1\r\nhost: x\r\n\r\n`, `POST\t${path}\tHTTP/1.1\r\n\r\n`,
        `POST ${path} HTTP/1.1\nhost: x\n\n`, `POST ${path} HTTP/1.1\rhost: x\r\r`, ` POST ${path} HTTP/1.1\r\nhost: x\r\n\r\n`,
        `POST ${path} http/1.1\r\nhost: x\r\n\r\n`,
        `POST ${path}\0 HTTP/1.1\r\nhost: x\r\n\r\n`, `POST ${noise} HTTP/1.1\r\nhost: x\r\n\r\n`,
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        "\r\n".repeat(1000), "\0".repeat(1000),
      ]),
    };
  },
  smuggling({ draw, pick, headOf }) {
    const inner = hidden(pick);
    const chunked = pick([
      "transfer-encoding: chunked", "Transfer-Encoding : chunked", " transfer-encoding: chunked", "transfer-encoding: xchunked",
      "transfer-encoding: chunked, identity",
      "transfer-encoding: identity, chunked", "transfer-encoding:\x0bchunked",
      "transfer-encoding: chunked\r\ntransfer-encoding: x", "x: y\r\n\ttransfer-encoding: chunked",
      "transfer_encoding: chunked", "x: y\rtransfer-encoding: chunked", "x: y\ntransfer-encoding: chunked",
      "transfer-encoding: \"chunked\"",
    ]);
    const length = pick([
      `content-length: ${inner.length + 5}`, `content-length: 5\r\ncontent-length: ${inner.length + 5}`,
      `content-length: 5, ${inner.length + 5}`, "content-length: +5",
      "content-length: 0x5", "content-length: -1", "content-length: 5 5", "content-length:\r\n 5", "content-length: 5\0",
      "content-length: 1e1", "content-length: 18446744073709551617",
    ]);
    const lines = draw(2) ? [chunked, length] : [length, chunked];
    // Where a spelling is taken for a header of no meaning, the call before it is a whole and legal one.
    return { text: `${headOf(`POST ${pick(CALLS)}`).slice(0, -2)}${lines.join("\r\n")}\r\n\r\n0\r\n\r\n${inner}`, legal: true };
  },
  "huge headers"({ draw, pick, headOf }) {
    const size = 8192 + draw(1 << 20);
    const more = pick([
      { "x-large": "a".repeat(size) },
      { [`x-${"a".repeat(size)}`]: "" },
      { cookie: "a=b; ".repeat(size / 5) },
      { "flwr-signature": "A".repeat(size) },
    ]);
    return { text: pick([headOf(`POST ${pick(CALLS)}`, { "content-length": 0, ...more }), headOf(`POST /${"a".repeat(size)}`)]) };
  },
  "endless headers"({ pick, headOf }) {
    const more = pick([`x-more: ${"a".repeat(1000)}\r\n`.repeat(16), "a".repeat(16_384), "a:\r\n".repeat(4096)]);
    return { text: headOf(`POST ${pick(CALLS)}`).slice(0, -2), more };
  },
  "endless chunks"({ pick, headOf }) {
    const more = pick([
      `4000\r\n${"a".repeat(0x4000)}\r\n`, "1\r\na\r\n".repeat(2000), `1;${"x".repeat(16_000)}\r\na\r\n`, "0".repeat(16_000),
      "ffffffffffffffff\r\n", "a".repeat(16_384),
    ]);
    return { text: headOf(`POST ${pick([...CALLS, ...OTHERS])}`, { "transfer-encoding": "chunked" }), more };
  },
  trailers({ pick, headOf }) {
    const trailer = pick(["flwr-public-key: AAAA", "content-length: 5", "transfer-encoding: chunked", `x: ${"a".repeat(20_000)}`]);
    return { text: `${headOf(`POST ${pick(CALLS)}`, { "transfer-encoding": "chunked", trailer: "x" })}1\r\na\r\n0\r\n${trailer}\r\n\r\n` };
  },
  "bodies beyond limits"({ draw, pick, headOf }) {
    const path = pick(CALLS);
    const most = path.endsWith("push-object") ? 5_242_880 + 65_536 : 1 << 20;
    const length = pick([most + 1, most + 1 + draw(1 << 24), 2 ** 31, 2 ** 53, 1e15]);
    return { text: headOf(`POST ${path}`, { "content-length": length }), more: "a".repeat(65_536) };
  },
  paths({ draw, pick, headOf }) {
    const encoded = (path) => [...path].map((c) => (draw(4) ? c : `%${c.charCodeAt(0).toString(16).padStart(2, "0")}`)).join("");
    const other = pick(OTHERS);
    const path = pick([
      `/v1/fleet/..${other}`, `/v1/fleet/%2e%2e/%2e%2e${other}`, `//${other}`, `${pick(CALLS)}/../../..${other}`,
      `${pick(CALLS)}?x=${other}`, `${pick(CALLS)};${other}`, `${pick(CALLS)}/`,
      `${pick(CALLS)}%00`, `${pick(CALLS)}%20`, pick(CALLS).toUpperCase(), pick(CALLS).replace("fleet", "FLEET"),
      pick(CALLS).replaceAll("/", "\\"), pick(CALLS).replaceAll("/", "//"),
      encoded(`/v1${other}`), other, `.${other}`, `${pick(CALLS)}#${other}`, `/v1/fleet/${encoded("pull-messages")}x`,
      `%2f${pick(CALLS).slice(1)}`, "*", "?", "%",
    ]);
    return { text: headOf(`POST ${path}`, { "content-length": 0 }) };
  },
  methods({ pick, headOf }) {
    return { text: headOf(`${pick(METHODS)} ${pick([...CALLS, ...OTHERS])}`, { "content-length": 0 }) };
  },
  upgrades({ pick, headOf }) {
    const upgrade = pick(["websocket", "h2c", "TLS/1.0", "x"]);
    const line = pick([`POST ${pick(CALLS)}`, `GET ${pick(OTHERS)}`, "OPTIONS *", `CONNECT 127.0.0.1:8000`, `CONNECT ${pick(CALLS)}`]);
    const settings = { "http2-settings": "AAMAAABkAAQAAP__", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==" };
    const more = { upgrade, connection: "upgrade, http2-settings", ...settings, "content-length": 0 };
    return { text: `${headOf(line, more)}${hidden(pick)}` };
  },
  "slow bodies"({ draw, pick, headOf }) {
    const begun = headOf(`POST ${pick(CALLS)}`, { "content-length": 1000 + draw(10_000) });
    return { text: begun + "a".repeat(draw(900)), wait: 4000, legal: true };
  },
  "slow heads"({ draw, pick, headOf }) {
    return { text: headOf(`POST ${pick(CALLS)}`).slice(0, draw(400)), wait: 4000 };
  },
  pipelining({ draw, pick, headOf }) {
    const call = headOf(`POST ${pick(CALLS)}`, { "content-length": 0 });
    const all = Array.from({ length: 1 + draw(200) }, () => (draw(2) ? call : hidden(pick)));
    return { text: [call, ...all].join(""), legal: true };
  },
  "absolute forms"({ pick, headOf }) {
    const host = pick(["127.0.0.1:8000", "localhost", "federation.example", "user:pass@127.0.0.1:8000", "[::1]:8000"]);
    const address = `${pick(["http", "https", "file", "gopher"])}://${host}${pick([...CALLS, ...OTHERS])}`;
    return { text: headOf(`POST ${address}`, { "content-length": 0 }) };
  },
  "broken off"({ draw, pick, headOf }) {
    const length = 1 + draw(1 << 20);
    const begun = headOf(`POST ${pick(CALLS)}`, { "content-length": length });
    return { text: begun + "a".repeat(draw(length)), wait: draw(60), legal: true };
  },
  identities({ pick, headOf }) {
    const name = pick(Object.keys(identity()));
    const value = pick([
      undefined, "", "a b", "\u00e4", "A".repeat(2000), "AA==\tAA==", "A\0A", `AA\n${hidden(pick)}`, `AA\r${hidden(pick)}`,
      `AA\r\nx: y\r\nAA`, "AA, AA", "=", "2026-13-45", "text/plain; q=1",
      `application/protobuf\r\nflwr-public-key: AAAA`,
    ]);
    return { text: headOf(`POST ${pick(CALLS)}`, { "content-length": 0, [name]: value }) };
  },
  mutations({ draw, pick, headOf }) {
    const bytes = [...Buffer.from(`${headOf(`POST ${pick(CALLS)}`, { "content-length": 5 })}abcde${hidden(pick)}`)];
    for (let times = 1 + draw(6); times > 0; times -= 1) {
      const at = draw(bytes.length);
      const change = draw(4);
      if (change === 0) bytes[at] ^= 1 << draw(8);
      if (change === 1) bytes.splice(at, 1 + draw(20));
      if (change === 2) bytes.splice(at, 0, ...bytes.slice(at, at + draw(60)));
      if (change === 3) bytes.splice(at, 0, ...Buffer.from(pick(MARKS)));
    }
    return { text: Buffer.from(bytes), legal: true };
  },
  "answers that nobody reads"({ draw, headOf }) {
    const one = draw(2) ? headOf("POST /v1/fleet/pull-object", { "content-length": 0 }) : "GET /large.bin HTTP/1.1\r\nhost: x\r\n\r\n";
    return { text: one, wait: 1000, unread: true, legal: true };
  },
};
