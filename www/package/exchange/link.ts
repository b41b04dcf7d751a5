import { failure } from "../errors.js";
import { isOwnMachine } from "../hub/request.js";
import { shown } from "./limits.js";

const LONGEST = 2048;
const BEFORE = "#adapter=";

/** A link to a page that opens the adapter, or the gallery's entry, at an address: `page#adapter=https://…`. */
export function adapterLink(page: string | URL, address: string | URL): string {
  const link = new URL(page, globalThis.location?.href);
  link.hash = "";
  // What stands behind the sign is decoded once when it is read.
  return link.href + BEFORE + checkedAddress(String(address), link).replaceAll("%", "%25");
}

/**
 * The address that a page's own address links to; undefined where it links to none. Throws `bad-option` for one that a link may not lead
 * to. Nothing is asked of the address: the page asks the person first.
 */
export function linked(location: { href: string } | string): string | undefined {
  const page = new URL(typeof location === "string" ? location : location.href);
  if (!page.hash.startsWith(BEFORE)) return undefined;
  const written = page.hash.slice(BEFORE.length);
  try {
    return checkedAddress(decodeURIComponent(written), page);
  } catch (thrown) {
    if (thrown instanceof URIError) throw refused(written, "it is not encoded as addresses are");
    throw thrown;
  }
}

/**
 * An address that adapters may be taken from: https, or http on this very machine where the page itself is from there, without a name or a
 * password, and at most 2,048 characters long.
 */
export function checkedAddress(address: string, page: { href: string } | undefined = globalThis.location): string {
  if (address.length > LONGEST) throw refused(address, `it is longer than ${LONGEST} characters`);
  let url: URL;
  try {
    url = new URL(address.trim(), page?.href);
  } catch {
    throw refused(address, "it cannot be read");
  }
  if (url.username !== "" || url.password !== "") throw refused(url.host, "it holds a name or a password");
  const is_local = url.protocol === "http:" && isOwnMachine(url) && (!page || isOwnMachine(new URL(page.href)));
  if (url.protocol !== "https:" && !is_local) throw refused(address, "it has to begin with https://");
  url.hash = "";
  if (url.href.length > LONGEST) throw refused(address, `it is longer than ${LONGEST} characters`);
  return url.href;
}

function refused(address: string, why: string) {
  return failure("bad-option", `no adapter is taken from ${shown(address)}: ${why}`);
}
