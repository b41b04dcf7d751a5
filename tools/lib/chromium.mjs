// Finds and launches Chromium with WebGPU.
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const PLACES = [
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
  "/Applications/Chromium.app/Contents/MacOS/Chromium",
];

const QUIET = [
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/**
 * What no page of ours needs: each popup of the address bar is a page of the browser's own, which takes longer to begin than one of ours,
 * and a renderer is kept ready for a page that may never come.
 */
const UNNEEDED = ["WebUIOmniboxPopup", "WebUIOmniboxAimPopup", "SpareRendererForSitePerProcess"];

/**
 * Of what Playwright turns off what may keep a page from coming, or a browser from ending (microsoft/playwright, 14080, 28023): Chromium
 * takes the last list of such features alone. The others are services, which are off here anyway.
 */
const IN_THE_WAY = ["AvoidUnnecessaryBeforeUnloadCheckSync", "DestroyProfileOnBrowserClose", "HttpsUpgrades", "PaintHolding"];

/** The longest that it takes to start, on a machine that does much else. */
const START_MILLIS = 180_000;

/** The path of Chromium: $CHROMIUM, or the first that is installed. */
export function chromiumPath() {
  const path = process.env.CHROMIUM ?? PLACES.find((place) => existsSync(place));
  if (!path) throw new Error("Chromium was not found: install it, or name its program in the variable CHROMIUM");
  return path;
}

/**
 * Launches headless Chromium with a fresh profile on disk, which goes away when it is closed. `gpu` is
 * the WebGPU adapter: "swiftshader" runs on the CPU and is there on every machine, "hardware" is the
 * machine's own, "none" leaves WebGPU out. With `keeps_pages`, pages may register service workers: these would answer for files
 * that a test gives anew.
 */
export async function launch({ gpu = process.env.TABTUNE_GPU ?? "swiftshader", args = [], keeps_pages = false } = {}) {
  const adapter = {
    swiftshader: ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"],
    hardware: ["--enable-unsafe-webgpu", "--enable-features=Vulkan"],
    none: ["--disable-gpu"],
  }[gpu];
  if (!adapter) throw new Error(`TABTUNE_GPU is "${gpu}", but must be swiftshader or hardware`);
  const without = `--disable-features=${[...UNNEEDED, ...IN_THE_WAY, ...(gpu === "none" ? ["WebGPU"] : [])].join(",")}`;
  const sandbox = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
  const profile = await mkdtemp(join(tmpdir(), "tabtune-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: chromiumPath(),
    headless: true,
    timeout: START_MILLIS,
    acceptDownloads: true,
    serviceWorkers: keeps_pages ? "allow" : "block",
    args: [...sandbox, ...QUIET, without, ...adapter, ...args],
  });
  return {
    profile,
    newPage: () => context.newPage(),
    close: async () => {
      await context.close();
      await rm(profile, { recursive: true, force: true, maxRetries: 20 });
    },
  };
}

// As a program it prints the path, or fails: build.sh asks whether Chromium has to be installed.
if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(chromiumPath());
