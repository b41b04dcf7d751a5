/** Before the address of a page's script, in the name of the lock that the page holds while it is open. */
const OPEN_PAGE = "tabtune-open ";

/** Says that a page of this script is open, for as long as it is: the service worker keeps the files of its build until then. */
export function sayOpen(script: string): void {
  void navigator.locks?.request(OPEN_PAGE + script, { mode: "shared" }, () => new Promise(() => {}));
}

/** The scripts of all pages that are open. */
export async function openScripts(locks: Pick<LockManager, "query">): Promise<string[]> {
  const { held = [] } = await locks.query();
  return held.flatMap(({ name = "" }) => (name.startsWith(OPEN_PAGE) ? [name.slice(OPEN_PAGE.length)] : []));
}
