// The command line.
import { readFile, stat } from "node:fs/promises";
import { isIPv4 } from "node:net";
import { parseArgs } from "node:util";
import { Failure } from "../../tools/lib/options.mjs";
import { LIMITS } from "./limits.mjs";

export const USAGE = `usage: node federated/proxy/main.mjs --terms FILE [OPTIONS]

  --terms FILE                the federation's terms, federation.json
  --superlink URL             where the SuperLink listens (default http://127.0.0.1:8000)
  --host HOST --port PORT     where the proxy listens (default 127.0.0.1 and 8080)
  --page FOLDER               a built page to serve, as in www/dist
  --cert FILE --key FILE      the certificates' chain and the private key for TLS, PEM
  --insecure                  listen on other hosts than this machine without TLS
  --origin ORIGIN             a page's origin that may use the federation from elsewhere; can be given several times
  --connections N             connections at once (default ${LIMITS.connections})
  --connections-per-address N of one address (default ${LIMITS.connections_per_address})
  --rate N                    requests per second of one address (default ${LIMITS.rate_per_address})
  --rate-per-key N            and of one node's key (default ${LIMITS.rate_per_key})
  --header-seconds N          within which a request's headers must arrive (default ${LIMITS.header_ms / 1000})
  --request-seconds N         within which all of a request must (default ${LIMITS.request_ms / 1000})
  --answer-seconds N          that the SuperLink may take beyond that (default ${LIMITS.answer_ms / 1000})
`;

/** The limit that an option sets, what its number is multiplied with, and the bounds of the number. */
const OF_LIMITS = {
  connections: ["connections", 1, 1, 100_000],
  "connections-per-address": ["connections_per_address", 1, 1, 100_000],
  rate: ["rate_per_address", 1, 1, 1e6],
  "rate-per-key": ["rate_per_key", 1, 1, 1e6],
  "header-seconds": ["header_ms", 1000, 1, 600],
  "request-seconds": ["request_ms", 1000, 1, 3600],
  "answer-seconds": ["answer_ms", 1000, 1, 3600],
};

const TEXTS = ["terms", "superlink", "host", "port", "page", "cert", "key", ...Object.keys(OF_LIMITS)];

/** What `args` say: { help } or { terms, superlink, host, port, page, tls, origins, limits }, with the files of TLS read. */
export async function proxyOptions(args) {
  const said = parse(args);
  if (said.help) return { help: true };
  if (said.terms === undefined) throw new Failure("bad-option", "--terms FILE is missing: the terms of the federation");
  const { host = "127.0.0.1", page } = said;
  const tls = await readTls(said);
  if (!tls && !said.insecure && !isThisMachine(host)) {
    const why = "without TLS, whoever is on the way can read what nodes send and repeat their requests";
    throw new Failure("bad-option", `${why}; to listen on ${host} give --cert and --key, or --insecure if something else does TLS`);
  }
  if (page !== undefined && !(await stat(page).catch(() => undefined))?.isDirectory()) {
    throw new Failure("io", `--page ${page} is no folder; ./build.sh build makes the page in www/dist`);
  }
  return {
    terms: said.terms,
    superlink: superlinkOf(said.superlink ?? "http://127.0.0.1:8000"),
    host,
    port: number("port", said.port ?? "8080", 0, 65_535),
    page,
    tls,
    origins: (said.origin ?? []).map(originOf),
    limits: limitsOf(said),
  };
}

function parse(args) {
  const text = { type: "string" };
  const options = {
    ...Object.fromEntries(TEXTS.map((name) => [name, text])),
    origin: { type: "string", multiple: true },
    insecure: { type: "boolean" },
    help: { type: "boolean", short: "h" },
  };
  try {
    return parseArgs({ args, options }).values;
  } catch (error) {
    throw new Failure("bad-option", error.message);
  }
}

function number(name, said, least, most) {
  const value = Number(said);
  if (!/^\d+$/.test(said) || value < least || value > most) {
    throw new Failure("bad-option", `--${name} must be a whole number from ${least} to ${most}, not "${said}"`);
  }
  return value;
}

function limitsOf(said) {
  const limits = {};
  for (const [option, [name, factor, least, most]] of Object.entries(OF_LIMITS)) {
    if (said[option] !== undefined) limits[name] = number(option, said[option], least, most) * factor;
  }
  const { header_ms, request_ms } = { ...LIMITS, ...limits };
  if (header_ms > request_ms) throw new Failure("bad-option", "--header-seconds are a part of --request-seconds, so they must not be more");
  return limits;
}

function superlinkOf(said) {
  const url = URL.canParse(said) ? new URL(said) : undefined;
  const is_plain = url && `${url.origin}/` === url.href && ["http:", "https:"].includes(url.protocol);
  if (!is_plain) throw new Failure("bad-option", `--superlink must be an address such as http://127.0.0.1:8000, not "${said}"`);
  return url;
}

/** An origin as browsers send it. */
function originOf(said) {
  const url = URL.canParse(said) ? new URL(said) : undefined;
  const is_origin = url && ["http:", "https:"].includes(url.protocol) && [url.origin, `${url.origin}/`].includes(said);
  if (!is_origin) throw new Failure("bad-option", `--origin must be a scheme and a host, as in https://app.example.org, not "${said}"`);
  return url.origin;
}

async function readTls({ cert, key }) {
  if ((cert === undefined) !== (key === undefined)) throw new Failure("bad-option", "--cert and --key go together");
  if (cert === undefined) return undefined;
  try {
    return { cert: await readFile(cert), key: await readFile(key) };
  } catch (error) {
    throw new Failure("io", `the files for TLS cannot be read: ${error.message}`);
  }
}

function isThisMachine(host) {
  return host === "localhost" || host === "::1" || (isIPv4(host) && host.startsWith("127."));
}
