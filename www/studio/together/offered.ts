/** How often the page's server is asked whether it is a federation, and after how long again, in milliseconds. */
const ASKED = { times: 3, after: 1000 };

/** Whether the page's server is a federation. Elsewhere the page's own file says that there is none. */
export async function isFederation(): Promise<boolean> {
  for (let times = 1; ; times++) {
    try {
      const file: unknown = await (await fetch("./federation.json")).json();
      return typeof file === "object" && file !== null;
    } catch {
      if (times === ASKED.times) return false;
      await new Promise((resolve) => setTimeout(resolve, ASKED.after));
    }
  }
}
