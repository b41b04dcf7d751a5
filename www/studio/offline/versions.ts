import { integrityOf, type Build, type PageFile } from "./files.js";
import { openScripts } from "./open.js";

/** How many files are asked for at a time. */
const AT_ONCE = 4;

/** What a service worker has of its surroundings here; tests play them. */
export interface Surroundings {
  caches: CacheStorage;
  locks: Pick<LockManager, "query">;
  fetch: typeof fetch;
}

/** The page's files in the browser's cache: those of one build, and of older ones whose pages are still open. */
export class Versions {
  readonly #scope: string;
  readonly #files: Map<string, PageFile>;
  readonly #folders: Set<string>;
  readonly #around: Surroundings;
  /** What the names of all builds' caches begin with. Another folder of the same server may have a page of its own. */
  readonly #prefix: string;
  readonly #own: string;

  /** `scope` is the address of the page's folder. */
  constructor(scope: string, build: Build, around: Surroundings) {
    this.#scope = scope;
    this.#files = new Map(build.files.map((file) => [file.path, file]));
    // Beside the page itself its server may have anything.
    this.#folders = new Set(build.files.map(({ path }) => folderOf(path)).filter((folder) => folder !== ""));
    this.#around = around;
    this.#prefix = `tabtune-page ${scope} `;
    this.#own = this.#prefix + build.version;
  }

  /** Whether this build has the file. */
  has(path: string): boolean {
    return this.#files.has(path);
  }

  /** Whether this build has the folder that the file would be in, and so knows that there is none. */
  lacks(path: string): boolean {
    return !this.#files.has(path) && this.#folders.has(folderOf(path));
  }

  /** Keeps all files. What came before a connection broke off stays, so that the next try goes on from there. */
  async install(): Promise<void> {
    const cache = await this.#around.caches.open(this.#own);
    const files = this.#files.values();
    // All take from the same list.
    const take = async () => {
      for (const file of files) {
        const address = this.#addressOf(file);
        if (!(await cache.match(address))) await cache.put(address, await this.#bring(file));
      }
    };
    try {
      await Promise.all(Array.from({ length: AT_ONCE }, take));
    } catch (thrown) {
      // Half a page is of no use, and what a person keeps here needs the room.
      if (thrown instanceof DOMException && thrown.name === "QuotaExceededError") await this.#around.caches.delete(this.#own);
      throw thrown;
    }
  }

  /** The file as this build has it. */
  async own(path: string): Promise<Response | undefined> {
    const cache = await this.#around.caches.open(this.#own);
    return cache.match(this.#scope + path, { ignoreVary: true });
  }

  /** A file that only an older build has, for its pages that are still open. */
  async older(path: string): Promise<Response | undefined> {
    for (const cache of await this.#olderCaches()) {
      const kept = await cache.match(this.#scope + path, { ignoreVary: true });
      if (kept) return kept;
    }
    return undefined;
  }

  /**
   * Removes the files of older builds, but those that a page is open of: it may still load parts of itself. A build that is not
   * used yet is newer, and so stays.
   */
  async tidy(): Promise<void> {
    const { caches, locks } = this.#around;
    const older = (await openScripts(locks)).filter((script) => !this.has(script.slice(this.#scope.length)));
    for (const name of await this.#olderNames()) {
      const cache = await caches.open(name);
      const kept = await Promise.all(older.map((script) => cache.match(script)));
      if (kept.every((file) => file === undefined)) await caches.delete(name);
    }
  }

  /** Caches are told in the order in which they were made. */
  async #olderNames(): Promise<string[]> {
    const names = (await this.#around.caches.keys()).filter((name) => name.startsWith(this.#prefix));
    return names.slice(0, Math.max(0, names.indexOf(this.#own)));
  }

  async #olderCaches(): Promise<Cache[]> {
    return Promise.all((await this.#olderNames()).map((name) => this.#around.caches.open(name)));
  }

  async #bring(file: PageFile): Promise<Response> {
    const address = this.#addressOf(file);
    const known = await this.#known(file);
    if (known) return known;
    // A server that is just being given another build, or that changes what it sends, must not make a page of two.
    const response = await this.#around.fetch(address, { integrity: file.integrity, cache: "no-cache" });
    if (!response.ok) throw new Error(`${address}: the server answered ${response.status}`);
    // Pages must not come by a redirect that they did not ask for.
    return response.redirected ? new Response(response.body, response) : response;
  }

  /**
   * The file from an older build, if it is the same: most of what there is to download seldom changes. Its headers come from the
   * server, which may have been given others since: a worker without those of an isolated page would not run in one.
   */
  async #known(file: PageFile): Promise<Response | undefined> {
    const address = this.#addressOf(file);
    const body = await (await this.older(file.path))?.blob();
    if (!body || (await integrityOf(body)) !== file.integrity) return undefined;
    const head = await this.#around.fetch(address, { method: "HEAD", cache: "no-store" }).catch(() => undefined);
    return head?.ok ? new Response(body, { headers: head.headers }) : undefined;
  }

  #addressOf({ path }: PageFile): string {
    return this.#scope + path;
  }
}

function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/") + 1);
}
