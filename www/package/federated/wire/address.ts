import { failure } from "../../errors.js";
import { isOwnMachine } from "../../hub/request.js";

/**
 * The address of a server without a slash at its end. What a node sends can be replayed by who reads it, so only TLS will
 * do, but on this machine.
 */
export function serverAddress(base: string | URL): string {
  let url: URL;
  try {
    url = new URL(base);
  } catch {
    throw failure("bad-option", `the server's address ${JSON.stringify(base)} is none: write it as https://learn.example.org`);
  }
  if (url.protocol !== "https:" && !(url.protocol === "http:" && isOwnMachine(url))) {
    throw failure("bad-option", `the server's address ${url.href} has to begin with https://; http:// is for localhost alone`);
  }
  if (url.username || url.password || url.search || url.hash) {
    throw failure("bad-option", "the server's address has a user, a query or a fragment: leave them out");
  }
  return url.origin + url.pathname.replace(/\/+$/, "");
}
