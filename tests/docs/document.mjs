// Runs the blocks of one document, in order, in a page and a project of its own.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, readdirSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { paths } from "../../tools/lib/paths.mjs";
import { blocksOf } from "./blocks.mjs";
import { COMMANDS, ROWS, SERVING, changed } from "./plans.mjs";
import { enter, importText, pick } from "./stage-page.mjs";
import { shell, startCommand, startServer, writeInto } from "./stage.mjs";

/** The longest that a page has to tell that it works, and a download to be there. */
const PATIENCE_MILLIS = 300_000;

/** The header blocks of the guide to CSP, as objects. */
const HEADERS = blocksOf("docs/guides/csp-and-headers.md").filter(({ language }) => language === "http").map(headersOf);

function headersOf({ file, line, text }) {
  const pairs = text.trim().split("\n").map((header) => /^([\w-]+): (.+)$/.exec(header)?.slice(1));
  assert.ok(pairs.every(Boolean), `${file}:${line}: a line is no header`);
  return Object.fromEntries(pairs);
}

const hashOf = (text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;

/** Headers that let a page with this import map run, as the guide to CSP says. */
function allowing(headers, html, origins = []) {
  const map = /<script type="importmap">(.*?)<\/script>/s.exec(html)?.[1];
  let policy = headers["Content-Security-Policy"].replace(" 'sha256-HASH'", "");
  if (map !== undefined) policy = policy.replace("script-src 'self'", `script-src 'self' ${hashOf(map)}`);
  policy = policy.replace("connect-src 'self'", ["connect-src 'self'", ...origins].join(" "));
  return { ...headers, "Content-Security-Policy": policy };
}

function linkTool(folder, name) {
  const bin = join(folder, "node_modules/.bin");
  mkdirSync(bin, { recursive: true });
  symlinkSync(join(paths.root, "node_modules", name), join(folder, "node_modules", name));
  const program = { vite: join(paths.root, "node_modules/vite/bin/vite.js"), webpack: fileURLToPath(new URL("webpack.mjs", import.meta.url)) }[name];
  writeFileSync(join(bin, name), `#!/bin/sh\nexec node "${program}" "$@"\n`, { mode: 0o755 });
}

async function runShell(text, folder, installed) {
  for (const line of text.trim().split("\n")) {
    const command = COMMANDS.find(({ from }) => from.test(line));
    const run = command ? line.replace(command.from, command.to) : line;
    if (run.startsWith("link ")) linkTool(folder, run.slice("link ".length));
    else if (run === "install") cpSync(join(installed, "node_modules"), join(folder, "node_modules"), { recursive: true, dereference: true });
    else await shell(run, folder);
  }
}

/** Waits until `done` tells something, and gives it; `why` says what did not happen where it never does. */
async function until(done, why) {
  for (const end = Date.now() + PATIENCE_MILLIS; Date.now() < end; await sleep(50)) {
    const found = await done();
    if (found) return found;
  }
  throw new Error(`${why} for ${PATIENCE_MILLIS / 1000} s`);
}

/**
 * Runs a document: `plan` is that of the table, `site` the server of its page, `html` that page, `shared` what other pages of it need too,
 * `skipped` the modules that do not run in this browser.
 */
export async function runDocument(t, { browser, installed, downloads }, { file, plan, blocks, modules, folder, html, site, shared, skipped }) {
  let headers = HEADERS[1];
  let stage;

  /** The page for scripts, under the headers told last. */
  async function openStage() {
    if (stage) return stage;
    site.headers = allowing(headers, html, plan.allow);
    stage = await browser.open();
    await stage.goto(`${site.origin}/`);
    return stage;
  }
  async function closeStage() {
    await stage?.close();
    stage = undefined;
  }
  t.after(closeStage);

  /** Throws for errors that the console was told, but for those that are expected. */
  function checkErrors(errors) {
    assert.deepEqual(errors.filter((text) => !plan.expected?.test(text)), [], "the page's own errors");
  }

  /** What a person picks: the paths, and what lies there by its address. */
  function pickedFor({ path, folder: from, rows, blocks: names }) {
    const inFolder = (from) => readdirSync(from).map((name) => ({ disk: join(from, name), path: join(basename(from), name) }));
    if (rows) from = join(folder, "picked");
    if (from) return { paths: [from], files: inFolder(from) };
    const all = path ? [path] : names.map((name) => join(folder, name)).filter(existsSync);
    return { paths: all, files: all.map((disk) => ({ disk, path: basename(disk) })) };
  }

  async function fillIn(page, text) {
    for (const [selector, entry] of Object.entries(plan.fill ?? {})) {
      if (!text.includes(`"${selector}"`)) continue;
      if (entry.text) {
        await page.evaluate(enter, { selector, text: entry.text });
        continue;
      }
      const { paths: chosen, files } = pickedFor(entry);
      if (page.pick) await page.pick(selector, chosen);
      else await page.evaluate(pick, { selector, files: files.map(({ disk, path }) => ({ address: site.addressOf(disk), path })) });
    }
  }

  async function runScript({ module, text }) {
    const page = await openStage();
    await fillIn(page, text);
    await page.evaluate((address) => globalThis.stage.run(address), `/blocks/${module.replace(/\.ts$/, ".js")}`);
    const { logged, errors } = await page.evaluate(() => globalThis.stage.told());
    // The guides show values with spaces and quotes of their own.
    const plain = (text) => text.replace(/[\s"]/g, "");
    for (const [, told] of text.matchAll(/\/\/ → (.+)$/gm)) {
      assert.ok(logged.some((line) => plain(line) === plain(told)), `"${told}" was not logged, but ${logged.join(" / ")}`);
    }
    checkErrors([...errors, ...page.broken.splice(0)]);
  }

  /** Opens a page of the project; it tells that it works by text in its body. */
  async function openPage(address) {
    const page = await browser.open();
    try {
      await page.goto(address);
      const works = () => page.broken.length > 0 || page.evaluate(() => document.body.innerText.trim().length > 0);
      await until(works, "the page has told nothing");
      checkErrors(page.broken);
    } finally {
      await page.close();
    }
  }

  async function openFolder(name) {
    const root = join(folder, name);
    const index = readFileSync(join(root, "index.html"), "utf8");
    // A copy of the package in the project goes before the installed one.
    const own_copy = existsSync(join(root, "tabtune")) && { "/tabtune/": `${join(root, "tabtune")}/` };
    const own = await startServer({ folders: { ...shared, ...own_copy, "/": `${root}/` } });
    if (!plan.without_policy) own.headers = allowing(headers, index, plan.allow);
    try {
      await openPage(`${own.origin}/`);
    } finally {
      await own.close();
    }
  }

  async function importRows({ text, name = "rows.jsonl" }) {
    const page = await openStage();
    const { rows, skipped, bad_rows } = await page.evaluate(importText, { text, name });
    assert.equal(skipped, plan.bad?.[name] ?? 0, JSON.stringify(bad_rows));
    assert.ok(rows > 0);
  }

  /** Waits for the document's downloads so far, and puts them where it keeps them. */
  async function takeDownloads() {
    for (const name of plan.downloads ?? []) {
      const from = join(downloads, name);
      await until(() => statSync(from, { throwIfNoEntry: false })?.size > 0, `${name} was not downloaded`);
      if (!plan.keep) continue;
      mkdirSync(join(folder, plan.keep), { recursive: true });
      copyFileSync(from, join(folder, plan.keep, name));
    }
  }

  async function runBlock(block) {
    const { language, text, name, line } = block;
    if (name !== undefined) writeInto(folder, name, changed(text));
    switch (language) {
      case "js":
      case "ts":
        // One with a name is run by the page or the program that loads it.
        if (name === undefined) await runScript(modules.find((module) => module.line === line));
        break;
      case "html":
        if (name === undefined) await openStage();
        break;
      case "http":
        headers = headersOf(block);
        await closeStage();
        break;
      case "json":
        JSON.parse(text);
        break;
      case "jsonl":
        for (const row of text.trim().split("\n")) JSON.parse(row);
        await importRows(block);
        break;
      case "csv":
        assert.ok(name, "a table needs a name to be loaded by");
        break;
      case "sh":
        if (plan.keep) await takeDownloads();
        if (!SERVING.includes(text)) await runShell(text, folder, installed);
        break;
      default:
        throw new Error(`nothing here runs blocks of language "${language}"`);
    }
    const opened = plan.pages?.[name ?? text.trim()];
    if (opened === undefined) return;
    if (opened !== "served") return openFolder(opened);
    const { address, stop } = await startCommand(text.trim(), folder);
    try {
      await openPage(address);
    } finally {
      stop();
    }
  }

  writeInto(folder, "picked/chats.jsonl", ROWS);
  for (const block of blocks) {
    const label = [block.language || "no language", block.name].filter(Boolean).join(" ");
    const module = modules.find(({ line }) => line === block.line);
    if (skipped.has(module?.module)) continue;
    await t.test(`line ${block.line}: ${label}`, () => runBlock(block));
  }
  await takeDownloads();
}
