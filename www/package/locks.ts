import { failure } from "./errors.js";

/** The locks that keep tabs from working on the same thing. Browsers have them on safe pages alone. */
export function locks(): LockManager {
  if (navigator.locks) return navigator.locks;
  const message = "datasets and runs need a secure page: open it over https, or at http://localhost";
  throw failure("bad-state", message);
}
