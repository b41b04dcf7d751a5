// Has Vite build the pages of the guides, and serve them while the page is worked on.
import { readFileSync } from "node:fs";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { guideFiles } from "../../../tools/lib/guides.mjs";

const TEMPLATE = "guides/guide.html";
const TYPES = { ".html": "text/html; charset=utf-8", ".json": "application/json", ".webp": "image/webp" };
const studio = new URL("../", import.meta.url);
const at = (name) => fileURLToPath(new URL(name, studio));

/** The plugin. What it makes is part of the bundle, for plugins after it that list all files. */
export function guides() {
  return {
    name: "tabtune-guides",
    // The template's styles and scripts have their built addresses only then.
    enforce: "post",
    config: () => ({ build: { rolldownOptions: { input: { index: at("index.html"), guides: at(TEMPLATE) } } } }),
    generateBundle(_options, bundle) {
      const { source } = bundle[TEMPLATE];
      delete bundle[TEMPLATE];
      for (const file of guideFiles(String(source))) this.emitFile({ type: "asset", ...file });
    },
    configureServer(server) {
      server.middlewares.use((request, response, next) => {
        answer(server, request, response).then((answered) => answered || next(), next);
      });
    },
  };
}

/** Answers for the pages as the documents stand now; false for all other addresses. */
async function answer(server, { url }, response) {
  const { pathname } = new URL(url, "http://localhost");
  if (!pathname.startsWith("/guides/")) return false;
  const name = pathname.slice(1).replace(/\/$/, "/index.html");
  const found = guideFiles(readFileSync(at(TEMPLATE), "utf8")).find(({ fileName }) => fileName === name);
  if (!found) return false;
  const is_page = name.endsWith(".html");
  response.setHeader("Content-Type", TYPES[extname(name)]);
  response.end(is_page ? await server.transformIndexHtml(pathname, found.source) : found.source);
  return true;
}
