// Every code block of the guides and of the package's part of the READMEs is run, as it stands there but for
// the changes in the tables below. A block that nothing here knows how to run is a failure. Where a line of a
// script ends with "// → some text", the block must have logged that.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { transformWithOxc } from "vite";
import { launch } from "../../tools/lib/chromium.mjs";
import { paths } from "../../tools/lib/paths.mjs";
import { startHub } from "../browser/hub-server.mjs";
import { federation } from "../federated/support.mjs";
import { blocksOf, isScript, linkBlocks } from "./blocks.mjs";
import { folderFor, packInto, shell, standIn, startCommand, startProject, startServer, writeInto } from "./stage.mjs";

// ---- what is not as the guides say ---------------------------------------------------------------------

/** Text of blocks that is changed before they run, in all documents or in some. */
const CHANGED = [
  { from: /max_steps: \d{2,}/g, to: "max_steps: 2", why: "runs are slow where the processor plays the GPU" },
  {
    from: /load_in_4bit: true/g,
    to: "load_in_4bit: false",
    only: [
      "README.md",
      "www/package/README.md",
      ...["csp-and-headers", "script-tag", "sizes-and-browsers", "vite", "webpack", "what-happens-when"].map((name) => `docs/guides/${name}.md`),
    ],
    why: "kernels for 4 bits take the processor twice as long to compile; the guides to a first run and to models have the same lines",
  },
];

/** Lines of shell blocks that are changed before they run. The rest runs as it is. */
const COMMANDS = [
  { from: /^npm install (\.\/tabtune-.*\.tgz)$/, to: "npm install --offline --no-audit $1", why: "no test needs a registry" },
  { from: /^npm install --save-dev vite$/, to: "link vite", why: "this repository's own is taken" },
  { from: /^node tools\/gallery\.mjs /, to: `node "${join(paths.root, "tools/gallery.mjs")}" `, why: "blocks run in a project of their own" },
  { from: /^npm install --save-dev webpack webpack-cli$/, to: "link webpack", why: "the same; webpack.mjs is the cli" },
];

/** Shell blocks that go on until they are stopped. */
const SERVING = ["npx vite\n"];

/** The servers that the guides name, and what the tiny model's hub answers in their place. */
const STAND_INS = (hub) => ({
  "https://huggingface.co/": `${hub}/`,
  "https://hub.example.com/": `${hub}/`,
  "https://models.example.com/my-model/": `${hub}/plain/`,
});

/** Where the hub that the guides name has its large files. */
const LARGE = "https://cdn.example.com";

/** The hub has the tiny model alone. These names and this version stand for it too. */
const MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct";
const SAME = /my-team\/(private|my)-model|bartowski\/SmolLM2-135M-Instruct-GGUF/;
const sameModel = (address) => address.replace(SAME, MODEL).replace("/revision/v1.0", "/revision/main");

/** The hub has a GGUF beside it, which a file picker gives too. */
const GGUF = "tests/fixtures/bases/gguf_q4_k_m_llama/model.gguf";

const CHAT = { messages: [{ role: "user", content: "Where are you?" }, { role: "assistant", content: "At 12 Mill Lane." }] };

/** Of the federation that the guide to learning together joins. */
const TERMS = {
  version: 1,
  name: "Shops of our town",
  operator: "The town library",
  base_model_name_or_path: MODEL,
  lora: { r: 8, lora_alpha: 16, target_modules: ["q_proj", "v_proj"] },
  train: { max_steps: 2, learning_rate: 0.002, per_device_train_batch_size: 1, max_length: 128 },
  rounds: 2,
  min_clients: 1,
};

/**
 * How each document is run:
 *   section  only this section of it
 *   given    globals of the page that its scripts run in
 *   fill     what the user enters or picks, by selector: text, a path, or the names of blocks of the document
 *   picked   what showOpenFilePicker and showDirectoryPicker give: addresses of files
 *   allow    origins that connect-src must allow besides those of the guide to CSP
 *   pages    the folder of a page to open after a block, by the block's command or name; it works if it gets text
 *   without_policy  whether that page is sent without a CSP
 *   bad      bad rows in the block of that name
 *   downloads  files that it downloads
 *   keep       the folder of the project where these are put; it is at https://gallery.example.org/ meanwhile
 *   repo       a repository that the hub takes uploads to
 *   expected   what the console tells of a failure that the guide shows
 *   learn      terms of a federation that runs at https://learn.example.org/ meanwhile. It is a real one, on Flower: a server that
 *              is played would answer as this guide's author expects, and the real one starts in some seconds.
 */
const DOCUMENTS = {
  "README.md": { section: "From a web app", given: { file: [CHAT, CHAT] } },
  "www/package/README.md": { given: { file: [CHAT, CHAT] } },
  "docs/guides/better-or-not.md": {},
  "docs/guides/chat-and-compare.md": {},
  "docs/guides/csp-and-headers.md": { pages: { "main.js": "." } },
  "docs/guides/exchange-adapters.md": {
    allow: ["https://gallery.example.org", LARGE],
    fill: { "#token": { text: "hf_of_the_user" } },
    keep: "gallery",
    repo: "my-team/shop-hours",
    downloads: ["opening-hours.zip"],
  },
  "docs/guides/exports.md": {},
  "docs/guides/full-fine-tuning.md": {},
  "docs/guides/errors.md": { expected: /404 \(Not Found\)/ },
  "docs/guides/first-fine-tune.md": { downloads: ["adapter_config.json", "adapter_model.safetensors"] },
  "docs/guides/models.md": {
    allow: ["https://hub.example.com", "https://models.example.com"],
    fill: {
      "#model": { path: paths.model },
      "#gguf": { path: join(paths.root, GGUF) },
      "#token": { text: "hf_of_the_user" },
    },
    picked: ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"].map((name) => `/models/my-model/${name}`),
  },
  // Its one script is for Node, and is run by the library's own test.
  "docs/guides/keep-and-move.md": {},
  "docs/guides/learn-together.md": { allow: ["https://learn.example.org"], learn: TERMS },
  "docs/guides/memory-and-ways.md": {},
  "docs/guides/preferences.md": {},
  "docs/guides/offline-and-install.md": {},
  "docs/guides/run-a-federation.md": {},
  "docs/guides/script-tag.md": { pages: { "index.html": "." }, without_policy: true },
  "docs/guides/sizes-and-browsers.md": {},
  "docs/guides/teach-by-picking.md": {},
  "docs/guides/vite.md": { pages: { "npx vite build": "dist", "npx vite": "served" } },
  "docs/guides/webpack.md": { pages: { "npx webpack": "dist" } },
  "docs/guides/what-happens-when.md": {},
  "docs/guides/your-own-data.md": {
    fill: { "#file": { blocks: ["chats.jsonl"] }, "#folder": { folder: true } },
    picked: ["/data/chats.jsonl"],
    bad: { "some-bad.jsonl": 1 },
  },
};

// ---- running them --------------------------------------------------------------------------------------

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

function changed(file, text) {
  const here = CHANGED.filter(({ only }) => only === undefined || only.includes(file));
  return here.reduce((changed, { from, to }) => changed.replace(from, to), text);
}

function linkTool(folder, name) {
  const bin = join(folder, "node_modules/.bin");
  mkdirSync(bin, { recursive: true });
  symlinkSync(join(paths.root, "node_modules", name), join(folder, "node_modules", name));
  const program = { vite: join(paths.root, "node_modules/vite/bin/vite.js"), webpack: fileURLToPath(new URL("webpack.mjs", import.meta.url)) }[name];
  writeFileSync(join(bin, name), `#!/bin/sh\nexec node "${program}" "$@"\n`, { mode: 0o755 });
}

function runShell(text, folder) {
  for (const line of text.trim().split("\n")) {
    const command = COMMANDS.find(({ from }) => from.test(line));
    const run = command ? line.replace(command.from, command.to) : line;
    if (run.startsWith("link ")) linkTool(folder, run.slice("link ".length));
    else shell(run, folder);
  }
}

/** Runs in the page before its scripts: what a visitor's click would give. */
function giveGlobals({ given, picked }) {
  for (const [name, rows] of Object.entries(given ?? {})) {
    const text = rows.map((row) => `${JSON.stringify(row)}\n`).join("");
    globalThis[name] = new File([text], "chats.jsonl");
  }
  if (!picked) return;
  const directory = async () => {
    const root = await navigator.storage.getDirectory();
    const folder = await root.getDirectoryHandle("picked", { create: true });
    for (const address of picked) {
      const file = await folder.getFileHandle(address.split("/").at(-1), { create: true });
      const writable = await file.createWritable();
      await writable.write(await (await fetch(address)).blob());
      await writable.close();
    }
    return folder;
  };
  globalThis.showDirectoryPicker = directory;
  globalThis.showOpenFilePicker = async () => [await (await directory()).getFileHandle(picked[0].split("/").at(-1))];
}

/** The package's entries. */
const IMPORTS = Object.fromEntries(
  Object.entries({ tabtune: "index", "tabtune/federated": "federated", "tabtune/exchange": "exchange" }).map(([name, file]) => [name, `/tabtune/${file}.js`]),
);

/** The page that a document's scripts run in, with the elements of its HTML blocks. */
const stagePage = (fragments) =>
  `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>stage</title>` +
  `<script type="importmap">${JSON.stringify({ imports: IMPORTS })}</script></head><body>${fragments.join("")}</body></html>`;

const linked = Object.fromEntries(
  Object.entries(DOCUMENTS).map(([file, { section }]) => {
    const blocks = blocksOf(file, section);
    const modules = linkBlocks(blocks.filter(isScript).map((block) => ({ ...block, text: changed(file, block.text) })));
    return [file, { blocks, modules }];
  }),
);

test("every guide is in the table", () => {
  const guides = readdirSync(join(paths.root, "docs/guides")).map((name) => `docs/guides/${name}`);
  assert.deepEqual(guides.filter((name) => !(name in DOCUMENTS)), []);
  for (const { from, only = [undefined] } of CHANGED) {
    for (const file of only) {
      const documents = file === undefined ? Object.values(linked) : [linked[file]];
      assert.ok(documents.some(({ blocks }) => blocks.some(({ text }) => text.search(from) >= 0)), `no block has ${from}`);
    }
  }
  for (const { from } of COMMANDS) {
    const lines = Object.values(linked).flatMap(({ blocks }) => blocks).flatMap(({ text }) => text.split("\n"));
    assert.ok(lines.some((line) => from.test(line)), `no block has ${from}`);
  }
});

test("the blocks run", async (t) => {
  const home = folderFor(t);
  const tarball = packInto(home);
  const installed = startProject(join(home, "installed"), tarball);
  shell(`npm install --offline --no-audit ${tarball}`, installed);
  const dist = join(installed, "node_modules/tabtune/dist");

  const hub = await startModelHub();
  t.after(() => hub.close());
  const browser = await launch();
  t.after(() => browser.close());

  await t.test("TypeScript blocks are right under strict TypeScript", () => {
    for (const { modules } of Object.values(linked)) for (const { module, code } of modules) writeInto(installed, `blocks/${module}`, code);
    const given = new Set(Object.values(DOCUMENTS).flatMap(({ given }) => Object.keys(given ?? {})));
    writeInto(installed, "blocks/given.d.ts", [...given].map((name) => `declare const ${name}: File;\n`).join(""));
    const compilerOptions = {
      ...{ target: "ES2022", module: "ES2022", moduleResolution: "bundler", lib: ["ES2022", "DOM", "DOM.Iterable", "DOM.AsyncIterable"] },
      ...{ types: [], strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, allowJs: true, noEmit: true },
    };
    writeInto(installed, "tsconfig.json", JSON.stringify({ compilerOptions, include: ["blocks"] }));
    shell(`node "${join(paths.root, "node_modules/typescript/bin/tsc")}" -p .`, installed);
  });

  for (const [file, plan] of Object.entries(DOCUMENTS)) {
    await t.test(file, (t) => runDocument(t, { file, plan, home, tarball, dist, hub, browser }));
  }
});

async function startModelHub() {
  const names = readdirSync(paths.model).filter((name) => /\.(json|safetensors)$/.test(name));
  const files = Object.fromEntries(names.map((name) => [name, new Uint8Array(readFileSync(join(paths.model, name)))]));
  const gguf = "model-Q4_K_M.gguf";
  files[gguf] = new Uint8Array(readFileSync(join(paths.root, GGUF)));
  const sha = "0123456789abcdef0123456789abcdef01234567";
  return startHub({ id: MODEL, sha, revision: "main", files, lfs: ["model.safetensors", gguf], etag: '"tiny"' });
}

/** Has the hub that the guides name take one more repository, which another one on this machine plays. */
async function standInFor(page, repo, { hub, cdn }) {
  const asked = ({ origin, pathname }) => origin === "https://huggingface.co" && (pathname.includes(`/${repo}`) || /^\/api\/(repos\/create|verify)$/.test(pathname));
  await page.route(asked, async (route) => {
    const { pathname, search } = new URL(route.request().url());
    const response = await route.fetch({ url: `${hub.origin}${pathname}${search}` });
    const named = (text) => text.replaceAll(cdn.origin, LARGE).replaceAll(hub.origin, "https://huggingface.co");
    const headers = Object.fromEntries(Object.entries(response.headers()).map(([name, value]) => [name, named(value)]));
    await route.fulfill({ response, headers, body: Buffer.from(named((await response.body()).toString("latin1")), "latin1") });
  });
  await standIn(page, { [`${LARGE}/`]: `${cdn.origin}/` }, (address) => address);
}

async function runDocument(t, { file, plan, home, tarball, dist, hub, browser }) {
  const { blocks, modules } = linked[file];
  const folder = startProject(join(home, file.replaceAll("/", "-")), tarball);
  const fragments = blocks.filter(({ language, name }) => language === "html" && name === undefined).map(({ text }) => text);
  const html = stagePage(fragments);
  let headers = HEADERS[1];

  const compiled = {};
  for (const { module, code, language } of modules) {
    const js = language === "ts" ? (await transformWithOxc(code, module)).code : code;
    compiled[`/blocks/${module.replace(/\.ts$/, ".js")}`] = js;
  }
  const shared = { "/tabtune/": dist, "/models/my-model/": paths.model };
  const site = await startServer({ texts: { "/": html, ...compiled }, folders: { ...shared, "/data/": folder } });
  t.after(() => site.close());
  const learning = plan.learn && (await federation(t, plan.learn, { origin: site.origin }));

  let stage;
  const broken = [];
  const logged = [];
  const downloads = [];
  /** Downloads that are still being written. */
  const kept = [];
  const repository = plan.repo && (await startHub({ id: plan.repo, revision: "main", sha: "0".repeat(40), files: {}, lfs: [] }));
  t.after(() => repository?.close());
  async function newPage() {
    const page = await browser.newPage();
    page.setDefaultTimeout(60_000);
    page.on("pageerror", (error) => broken.push(String(error)));
    page.on("console", (message) => (message.type() === "error" ? broken : logged).push(message.text()));
    page.on("download", (download) => {
      const name = download.suggestedFilename();
      downloads.push(name);
      if (plan.keep) kept.push(download.saveAs(join(folder, plan.keep, name)));
    });
    // Where the processor plays the GPU it is under pressure, and runs would rest.
    await page.addInitScript(() => delete globalThis.PressureObserver);
    await page.addInitScript(giveGlobals, { given: plan.given, picked: plan.picked });
    await standIn(page, STAND_INS(hub.hub.origin), sameModel);
    if (plan.keep) await standIn(page, { "https://gallery.example.org/": `${site.origin}/data/${plan.keep}/` }, (address) => address);
    if (repository) await standInFor(page, plan.repo, repository);
    if (learning) await standIn(page, { "https://learn.example.org/": `${learning.base}/` }, (address) => address);
    return page;
  }
  /** The page for scripts, under the headers told last. */
  async function openStage() {
    if (stage) return stage;
    site.headers = allowing(headers, html, plan.allow);
    stage = await newPage();
    await stage.goto(`${site.origin}/`);
    return stage;
  }
  async function closeStage() {
    await stage?.close();
    stage = undefined;
  }
  t.after(closeStage);

  async function fillIn(page) {
    for (const [selector, { text, path, blocks: names, folder: is_folder }] of Object.entries(plan.fill ?? {})) {
      const field = page.locator(selector);
      if (text) await field.fill(text);
      else if (path) await field.setInputFiles(path);
      else if (is_folder) await field.setInputFiles(join(folder, "picked"));
      else if (names.every((name) => existsSync(join(folder, name)))) await field.setInputFiles(names.map((name) => join(folder, name)));
    }
  }

  async function runScript({ module, text }) {
    const page = await openStage();
    await fillIn(page);
    logged.length = 0;
    await page.evaluate((address) => import(address), `/blocks/${module.replace(/\.ts$/, ".js")}`);
    // The browser's way of showing a value differs from the guides' in spaces and quotes.
    const plain = (text) => text.replace(/[\s"]/g, "");
    for (const [, told] of text.matchAll(/\/\/ → (.+)$/gm)) {
      assert.ok(logged.some((line) => plain(line) === plain(told)), `"${told}" was not logged, but ${logged.join(" / ")}`);
    }
  }

  /** Opens a page of the project; it tells that it works by text in its body. */
  async function openPage(address) {
    const page = await newPage();
    try {
      await page.goto(address);
      const told = page.waitForFunction(() => document.body.innerText.trim().length > 0);
      while (broken.length === 0 && (await Promise.race([told, sleep(200)])) === undefined);
      told.catch(() => {});
    } finally {
      await page.close();
    }
  }

  async function openFolder(name) {
    const root = join(folder, name);
    const index = readFileSync(join(root, "index.html"), "utf8");
    // A copy of the package in the project goes before the installed one.
    const package_folder = existsSync(join(root, "tabtune")) ? join(root, "tabtune") : dist;
    const own = await startServer({ folders: { ...shared, "/tabtune/": package_folder, "/": root } });
    if (!plan.without_policy) own.headers = allowing(headers, index, plan.allow);
    try {
      await openPage(`${own.origin}/`);
    } finally {
      await own.close();
    }
  }

  async function importRows({ text, name }) {
    const page = await openStage();
    const report = await page.evaluate(async ([text, name]) => {
      const { Dataset } = await import("tabtune");
      const dataset = await Dataset.open("a block");
      const report = await dataset.import(new Blob([text]), { file_name: name, on_bad_row: "skip" });
      await dataset.delete();
      return report;
    }, [text, name ?? "rows.jsonl"]);
    assert.equal(report.skipped, plan.bad?.[name] ?? 0, JSON.stringify(report.bad_rows));
    assert.ok(report.rows > 0);
  }

  async function runBlock(block) {
    const { language, text, name, line } = block;
    if (name !== undefined) writeInto(folder, name, changed(file, text));
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
        await Promise.all(kept);
        if (!SERVING.includes(text)) runShell(text, folder);
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

  assert.ok(blocks.length > 0, "the document has no block");
  writeInto(folder, "picked/chats.jsonl", `${JSON.stringify(CHAT)}\n`);
  for (const block of blocks) {
    const label = [block.language || "no language", block.name].filter(Boolean).join(" ");
    await t.test(`line ${block.line}: ${label}`, async () => {
      await runBlock(block);
      const errors = broken.splice(0).filter((text) => !plan.expected?.test(text));
      assert.deepEqual(errors, [], "the page's own errors");
    });
  }
  if (plan.downloads) assert.deepEqual(downloads, plan.downloads);
  await closeStage();
}
