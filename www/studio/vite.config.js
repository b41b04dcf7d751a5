import { readFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig } from "vite";
import { guides } from "./guides/plugin.js";
import { offline } from "./offline/plugin.js";

/** Markup with what it includes, which may include more in turn. */
const included = (html) =>
  html.replaceAll(/<!-- include ([\w/.-]+) -->/g, (_, file) => included(readFileSync(join(import.meta.dirname, file), "utf8")));

/** Puts the markup that lies beside a place's code into the page: `<!-- include data/place.html -->`. */
const includes = { name: "includes", transformIndexHtml: { order: "pre", handler: included } };

export default defineConfig({
  // Relative addresses, so that the page works under any path.
  base: "./",
  plugins: [includes, guides(), offline()],
  worker: { format: "es" },
  build: {
    outDir: "../dist",
    emptyOutDir: true,
    target: "es2022",
    // The Content-Security-Policy admits files of this origin only: nothing inline, no data: addresses.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
});
