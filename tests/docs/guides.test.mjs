// Every code block of the guides and of the package's part of the READMEs is run in Chromium, as it stands there but for
// the changes in the tables of plans.mjs. A block that nothing here knows how to run is a failure. Where a line of a
// script ends with "// → some text", the block must have logged that.
import assert from "node:assert/strict";
import { readdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { launch } from "../../tools/lib/chromium.mjs";
import { paths } from "../../tools/lib/paths.mjs";
import { CHANGED, COMMANDS, DOCUMENTS, LACKING } from "./plans.mjs";
import { linked, runDocuments } from "./run.mjs";
import { folderFor, packInto, shell, startProject, writeInto } from "./stage.mjs";

test("every guide is in the table, and the tables have nothing else", () => {
  const guides = readdirSync(join(paths.root, "docs/guides")).map((name) => `docs/guides/${name}`);
  assert.deepEqual(guides.filter((name) => !(name in DOCUMENTS)), []);
  const blocks = Object.values(linked).flatMap(({ blocks }) => blocks);
  const used = [...CHANGED.map(({ from }) => from), ...Object.values(LACKING).flat().map(({ used }) => used)];
  for (const from of used) assert.ok(blocks.some(({ text }) => text.search(from) >= 0), `no block has ${from}`);
  for (const { from } of COMMANDS) assert.ok(blocks.some(({ text }) => text.split("\n").some((line) => from.test(line))), `no block has ${from}`);
});

/** Without WebGPU, of which the guides have nothing that is run: the processor computes, as in the other browsers. */
async function launchChromium({ proxy_port, downloads }) {
  const browser = await launch({ gpu: "none", args: [`--proxy-server=https=127.0.0.1:${proxy_port}`, "--ignore-certificate-errors"] });
  // A page behind another gets no folders, so none comes to the front while one picks.
  let last = Promise.resolve();
  const alone = (work) => {
    const done = last.then(work);
    last = done.catch(() => {});
    return done;
  };
  async function open() {
    const page = await alone(() => browser.newPage());
    page.setDefaultTimeout(300_000);
    const broken = [];
    page.on("pageerror", (error) => broken.push(String(error)));
    page.on("console", (message) => {
      // The browser asks for an icon by itself, which the guides' pages do not have.
      if (message.type() === "error" && !message.location().url.endsWith("/favicon.ico")) broken.push(message.text());
    });
    page.on("download", async (download) => {
      const name = download.suggestedFilename();
      // A file has its name once it is whole.
      await download.saveAs(join(downloads, `.${name}`));
      renameSync(join(downloads, `.${name}`), join(downloads, name));
    });
    return {
      broken,
      goto: (address) => page.goto(address),
      evaluate: (work, argument) => page.evaluate(work, argument),
      pick: (selector, paths) =>
        alone(async () => {
          await page.bringToFront();
          await page.locator(selector).setInputFiles(paths);
        }),
      close: () => page.close(),
    };
  }
  return { open, close: () => browser.close() };
}

test("the blocks run in Chromium", async (t) => {
  const home = folderFor(t);
  const installed = startProject(join(home, "installed"));
  await shell(`npm install --offline --no-audit "${await packInto(home)}"`, installed);

  await t.test("TypeScript blocks are right under strict TypeScript", async () => {
    for (const { modules } of Object.values(linked)) for (const { module, code } of modules) writeInto(installed, `blocks/${module}`, code);
    const given = new Set(Object.values(DOCUMENTS).flatMap(({ given }) => given ?? []));
    writeInto(installed, "blocks/given.d.ts", [...given].map((name) => `declare const ${name}: File;\n`).join(""));
    const compilerOptions = {
      ...{ target: "ES2022", module: "ES2022", moduleResolution: "bundler", lib: ["ES2022", "DOM", "DOM.Iterable", "DOM.AsyncIterable"] },
      ...{ types: [], strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, allowJs: true, noEmit: true },
    };
    writeInto(installed, "tsconfig.json", JSON.stringify({ compilerOptions, include: ["blocks"] }));
    await shell(`node "${join(paths.root, "node_modules/typescript/bin/tsc")}" -p .`, installed);
  });

  await runDocuments(t, { name: "Chromium", lanes: 2, launch: launchChromium, home, installed, with_bundlers: true });
});
