// The code blocks of the guides in WebKitGTK, as tests/docs has them run, but for what bundlers make.
import { test } from "node:test";
import { launch } from "../../tools/lib/webkit.mjs";
import { runDocuments } from "../docs/run.mjs";
import { builtProject, folderFor } from "../docs/stage.mjs";

/** It has one page, in which the documents follow one another. Of its console it tells nothing, so the pages have to. */
async function launchWebkit(given) {
  const { goto, evaluate, close } = await launch(given);
  return { open: () => ({ goto, evaluate, broken: [], close: () => goto("about:blank") }), close };
}

test("the guides' blocks run in WebKitGTK", async (t) => {
  const home = folderFor(t);
  await runDocuments(t, { name: "WebKitGTK", lanes: 1, launch: launchWebkit, home, installed: builtProject(home) });
});
