// Launches WebKitGTK's MiniBrowser by its WebDriver: the plainest browser, without WebGPU and shared memory.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { freePort } from "./ports.mjs";

const PLACES = ["/usr/bin/WebKitWebDriver"];
const XVFB = "/usr/bin/Xvfb";

/** The path of WebKit's driver: $WEBKIT_DRIVER, or the first that is installed. It needs a display, or Xvfb for one. */
export function webkitPath() {
  const path = process.env.WEBKIT_DRIVER ?? PLACES.find((place) => existsSync(place));
  if (!path) throw new Error("WebKit was not found: install webkit2gtk-driver, or name WebKitWebDriver in WEBKIT_DRIVER");
  if (!process.env.DISPLAY && !existsSync(XVFB)) throw new Error("WebKit needs a display: install xvfb");
  return path;
}

/** What the driver answers when the process of the page has ended in the middle of a script, and to whatever is asked after that. */
const PAGE_GONE = /^Could not parse script result$|page crash or hang/;

/** The process of the page has ended by itself, and the session and all that was kept with it. */
export class PageGone extends Error {}

/** A display for as long as its process lives: { display, end }. */
async function openDisplay() {
  if (process.env.DISPLAY) return { display: process.env.DISPLAY, end() {} };
  const server = spawn(XVFB, ["-displayfd", "3", "-nolisten", "tcp"], { stdio: ["ignore", "ignore", "ignore", "pipe"] });
  const number = await new Promise((resolve, reject) => {
    server.once("exit", () => reject(new Error("Xvfb did not start")));
    server.stdio[3].once("data", (data) => resolve(String(data).trim()));
  });
  return { display: `:${number}`, end: () => server.kill() };
}

/**
 * Launches MiniBrowser with one page and nothing kept: { goto, evaluate, closePage, close }. What it downloads goes into the folder
 * `downloads`. With `proxy_port`, a proxy on this machine gets all of https, and its certificate is believed.
 */
export async function launch({ downloads, proxy_port } = {}) {
  const path = webkitPath();
  const folder = await mkdtemp(join(tmpdir(), "tabtune-webkit-"));
  const { display, end } = await openDisplay();
  const port = await freePort();
  const env = {
    ...process.env,
    DISPLAY: display,
    XDG_RUNTIME_DIR: process.env.XDG_RUNTIME_DIR ?? folder,
    // Nobody looks, and a sandbox of its own is not to be had in every container.
    WEBKIT_DISABLE_COMPOSITING_MODE: "1",
    WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: "1",
    ...(proxy_port && { https_proxy: `http://127.0.0.1:${proxy_port}`, no_proxy: "localhost" }),
    ...(downloads && { XDG_CONFIG_HOME: folder }),
  };
  if (downloads) await writeFile(join(folder, "user-dirs.dirs"), `XDG_DOWNLOAD_DIR="${downloads}"\n`);
  const driver = spawn(path, [`--port=${port}`], { stdio: "ignore", env });
  const call = async (method, path, body) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { method, body: body && JSON.stringify(body) });
    const { value } = await response.json();
    if (!response.ok) throw new (PAGE_GONE.test(value.message?.trim() ?? "") ? PageGone : Error)(`${value.error}: ${value.message}`);
    return value;
  };
  const close = async (session) => {
    if (session) await call("DELETE", session).catch(() => {});
    driver.kill();
    end();
    await rm(folder, { recursive: true, force: true, maxRetries: 20 });
  };
  try {
    for (let tries = 0; !(await call("GET", "/status").catch(() => undefined)); tries++) {
      if (tries === 1000) throw new Error("WebKitWebDriver does not answer");
      await setTimeout(100);
    }
    const { sessionId } = await call("POST", "/session", { capabilities: { alwaysMatch: { acceptInsecureCerts: proxy_port !== undefined } } });
    const session = `/session/${sessionId}`;
    await call("POST", `${session}/timeouts`, { script: 300_000 });
    return {
      goto: (url) => call("POST", `${session}/url`, { url }),
      /** Runs a function, or what is written, in the page with plain data as its argument, and gives what it resolves to. */
      async evaluate(work, argument) {
        const given = typeof work === "string" ? `async () => (${work})` : `async (given) => (${work})(given)`;
        const script = `const tell = arguments[1];
          (${given})(arguments[0]).then((value) => tell({ value }), (thrown) => tell({ thrown: String(thrown) }));`;
        const { value, thrown } = await call("POST", `${session}/execute/async`, { script, args: [argument ?? null] });
        if (thrown) throw new Error(thrown);
        return value ?? undefined;
      },
      /** Closes the page, whatever it does, and goes on with a new one. Who kills its process ends the session and what is kept. */
      async closePage() {
        const { handle } = await call("POST", `${session}/window/new`, { type: "tab" });
        await call("DELETE", `${session}/window`);
        await call("POST", `${session}/window`, { handle });
      },
      close: () => close(session),
    };
  } catch (error) {
    await close();
    throw error;
  }
}

// As a program it prints the path, or fails: build.sh asks whether WebKit has to be installed.
if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(webkitPath());
