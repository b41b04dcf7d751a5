import { defineConfig } from "vite";
import { offline } from "./offline/plugin.js";

export default defineConfig({
  // Relative addresses, so that the page works under any path.
  base: "./",
  plugins: [offline()],
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
