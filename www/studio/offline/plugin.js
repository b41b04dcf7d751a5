// A plugin of the page's build: puts the bundled model and rows beside the page, and writes the service worker, which has a list of
// all that the build came to. A plugin for this exists (vite-plugin-pwa, on Workbox). It would bring caches for what this page
// never keeps, no ranges of files without a cache of their own, and no regard for pages that are still open.
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join, posix, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

const home = fileURLToPath(new URL("../..", import.meta.url));

/** Folders that lie beside the page under their own names: nothing in the code imports them. */
const BESIDE = ["models", "data"];

/** Its server may have another one, or none: whether it is a federation is never kept. */
const NOT_KEPT = ["federation.json"];

/** Pictures of guides: more bytes than the page itself, for what their words say too where there is no network. */
const isPicture = (name) => name.endsWith(".webp");

const SERVICE_WORKER = "service-worker.js";

/** The files in a folder and in those within it, as addresses relative to it. */
function filesIn(folder) {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return files.map(({ parentPath, name }) => relative(folder, join(parentPath, name)).replaceAll(sep, "/")).sort();
}

/** What the service worker has to know: see `Build` in files.ts. */
function buildIn(folder) {
  const names = filesIn(folder).filter((name) => name !== SERVICE_WORKER && !NOT_KEPT.includes(name) && !isPicture(name));
  const read = names.map((name) => {
    const bytes = readFileSync(join(folder, name));
    const integrity = `sha256-${createHash("sha256").update(bytes).digest("base64")}`;
    // Pages have the addresses of their folders, which servers send people to.
    return { path: encodeURI(name.replace(/(^|\/)index\.html$/, "$1")), integrity, size: bytes.length };
  });
  const files = read.sort((a, b) => a.size - b.size).map(({ path, integrity }) => ({ path, integrity }));
  const version = createHash("sha256").update(JSON.stringify([files, process.env.TABTUNE_EDITION ?? ""])).digest("hex").slice(0, 16);
  return { version, files };
}

async function writeServiceWorker(folder) {
  const bundle = await rolldown({
    input: fileURLToPath(new URL("service-worker.ts", import.meta.url)),
    transform: { define: { BUILD: JSON.stringify(buildIn(folder)) } },
  });
  // Not every browser takes a module for a service worker.
  await bundle.write({ file: join(folder, SERVICE_WORKER), format: "iife", minify: true });
  await bundle.close();
}

export function offline() {
  return {
    name: "tabtune-offline",
    apply: "build",
    generateBundle() {
      for (const folder of BESIDE) {
        for (const name of filesIn(join(home, folder))) {
          this.emitFile({ type: "asset", fileName: posix.join(folder, name), source: readFileSync(join(home, folder, name)) });
        }
      }
    },
    // Only what is written has all of it: the folder of public files is no part of the bundle.
    writeBundle: { order: "post", sequential: true, handler: ({ dir }) => writeServiceWorker(dir) },
  };
}
