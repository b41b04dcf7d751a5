import { defineConfig } from "vite";
import { guides } from "./guides/plugin.js";

export default defineConfig({
  // Relative addresses, so that the page works under any path.
  base: "./",
  worker: { format: "es" },
  plugins: [guides()],
  build: {
    outDir: "../dist",
    emptyOutDir: true,
    target: "es2022",
    // The Content-Security-Policy admits files of this origin only: nothing inline, no data: addresses.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
  },
});
