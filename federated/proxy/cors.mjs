// Pages of other origins that may use the federation: those that the operator names, and no others.
import { IDENTITY_HEADERS } from "./fleet.mjs";
import { Refusal } from "./refusals.mjs";

const ALLOWED_HEADERS = ["content-type", ...IDENTITY_HEADERS].join(", ");

/** What a page may read of an answer beside its body: when to try again, and the server's clock, to set its own dates by. */
const EXPOSED_HEADERS = "date, retry-after";

/** How long a browser need not ask again, in seconds. */
const PREFLIGHT_SECONDS = 7200;

export class Cors {
  #origins;

  /** @param {string[]} origins as browsers send them, such as "https://app.example.org" */
  constructor(origins) {
    this.#origins = new Set(origins);
  }

  /** Lets the page that asks read the answer, if its origin is listed. Refusals are answers too. */
  allow({ headers: { origin } }, response) {
    if (this.#origins.size > 0) response.setHeader("Vary", "Origin");
    if (!this.#origins.has(origin)) return;
    response.setHeader("Access-Control-Allow-Origin", origin);
    response.setHeader("Access-Control-Expose-Headers", EXPOSED_HEADERS);
  }

  /** Answers the question whether a request with `method` may follow; it is never passed on. */
  preflight({ headers: { origin } }, response, method) {
    if (!this.#origins.has(origin)) {
      const how = "the operator can list it with --origin";
      throw new Refusal("bad-request", "origin", `Pages of this origin may not use this federation; ${how}.`, { status: 403 });
    }
    response.setHeader("Access-Control-Allow-Methods", method);
    response.setHeader("Access-Control-Allow-Headers", ALLOWED_HEADERS);
    response.setHeader("Access-Control-Max-Age", PREFLIGHT_SECONDS);
    response.writeHead(204).end();
  }
}
