// Finds and launches Firefox with WebGPU.
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
// Playwright drives a Firefox of its own making only; Puppeteer drives the one that people have.
import puppeteer from "puppeteer-core";

const PLACES = ["/usr/bin/firefox-esr", "/usr/bin/firefox", "/Applications/Firefox.app/Contents/MacOS/firefox"];

/** Firefox has WebGPU on Linux, but leaves it off, and knows no adapter on the processor as a good one. */
const WEBGPU = { "dom.webgpu.enabled": true, "gfx.webgpu.ignore-blocklist": true };

/** Service workers would answer for files that a test gives anew. */
const FROM_SERVER = { "dom.serviceWorkers.enabled": false };

/** The path of Firefox: $FIREFOX, or the first that is installed. */
export function firefoxPath() {
  const path = process.env.FIREFOX ?? PLACES.find((place) => existsSync(place));
  if (!path) throw new Error("Firefox was not found: install it, or name its program in the variable FIREFOX");
  return path;
}

/** The entries of about:config for a proxy on this machine, which gets all of https. */
const proxied = (port) => ({ "network.proxy.type": 1, "network.proxy.ssl": "127.0.0.1", "network.proxy.ssl_port": port });

/** A new tab. Firefox replaces the first page of one while it tells of it, and may take it for gone (as in Mozilla 1918287). */
async function pageOf(browser, tries = 3) {
  try {
    return await browser.newPage();
  } catch (error) {
    if (tries === 1 || !/browsingContext\.create.*no such frame/.test(error.message)) throw error;
    return pageOf(browser, tries - 1);
  }
}

/**
 * Launches headless Firefox with a fresh profile on disk, which goes away when it is closed. Its questions
 * to a person stay unanswered. `prefs` are entries of about:config, `env` of its environment. With `proxy_port`, a proxy
 * on this machine gets all of https, and its certificate is believed.
 */
export async function launch({ prefs = {}, env = {}, proxy_port } = {}) {
  const profile = await mkdtemp(join(tmpdir(), "tabtune-firefox-"));
  const browser = await puppeteer.launch({
    browser: "firefox",
    executablePath: firefoxPath(),
    headless: true,
    userDataDir: profile,
    acceptInsecureCerts: proxy_port !== undefined,
    extraPrefsFirefox: { ...WEBGPU, ...FROM_SERVER, ...(proxy_port && proxied(proxy_port)), ...prefs },
    env: { ...process.env, XDG_RUNTIME_DIR: process.env.XDG_RUNTIME_DIR ?? profile, ...env },
    // On a machine that does much else.
    timeout: 180_000,
    protocolTimeout: 300_000,
  });
  return {
    profile,
    newPage: () => pageOf(browser),
    close: async () => {
      await browser.close();
      await rm(profile, { recursive: true, force: true, maxRetries: 20 });
    },
  };
}

// As a program it prints the path, or fails: build.sh asks whether Firefox has to be installed.
if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(firefoxPath());
