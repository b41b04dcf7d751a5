// The code blocks of the guides in Firefox, as tests/docs has them run, but for what bundlers make.
import { test } from "node:test";
import { launch } from "../../tools/lib/firefox.mjs";
import { runDocuments } from "../docs/run.mjs";
import { builtProject, folderFor } from "../docs/stage.mjs";

const prefsOf = (downloads) => ({
  "dom.webgpu.enabled": false,
  "browser.download.folderList": 2,
  "browser.download.dir": downloads,
  // A person says yes where the browser asks whether storage may stay.
  "dom.storageManager.prompt.testing": true,
  "dom.storageManager.prompt.testing.allow": true,
});

async function launchFirefox({ proxy_port, downloads }) {
  const browser = await launch({ prefs: prefsOf(downloads), proxy_port });
  async function open() {
    const page = await browser.newPage();
    const broken = [];
    page.on("pageerror", (error) => broken.push(error.message));
    return {
      broken,
      goto: (address) => page.goto(address),
      evaluate: (work, argument) => page.evaluate(work, argument),
      close: () => page.close(),
    };
  }
  return { open, close: () => browser.close() };
}

test("the guides' blocks run in Firefox", async (t) => {
  const home = folderFor(t);
  await runDocuments(t, { name: "Firefox", lanes: 2, launch: launchFirefox, home, installed: builtProject(home) });
});
