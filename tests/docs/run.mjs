// Runs the code blocks of all documents in a browser.
import assert from "node:assert/strict";
import { mkdirSync, readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { transformWithOxc } from "vite";
import { paths } from "../../tools/lib/paths.mjs";
import { startHub } from "../browser/hub-server.mjs";
import { federation } from "../federated/support.mjs";
import { blocksOf, isScript, linkBlocks } from "./blocks.mjs";
import { runDocument } from "./document.mjs";
import { COMMIT, DOCUMENTS, GGUF, LACKING, LARGE, MODEL, ROWS, TAKES_LARGE, changed, sameModel } from "./plans.mjs";
import { stagePage, stageScript } from "./stage-page.mjs";
import { startProject, startServer } from "./stage.mjs";
import { startStandIns } from "./stand-ins.mjs";

/** The blocks of each document, and its scripts as modules of one page. */
export const linked = Object.fromEntries(
  Object.entries(DOCUMENTS).map(([file, { section }]) => {
    const blocks = blocksOf(file, section);
    const modules = linkBlocks(blocks.filter(isScript).map((block) => ({ ...block, text: changed(block.text) })));
    return [file, { blocks, modules }];
  }),
);

async function startModelHub() {
  const names = readdirSync(paths.model).filter((name) => /\.(json|safetensors)$/.test(name));
  const files = Object.fromEntries(names.map((name) => [name, new Uint8Array(readFileSync(join(paths.model, name)))]));
  const gguf = "model-Q4_K_M.gguf";
  files[gguf] = new Uint8Array(readFileSync(join(paths.root, GGUF)));
  return startHub({ id: MODEL, sha: COMMIT, revision: "main", files, lfs: ["model.safetensors", gguf], etag: '"tiny"' });
}

/** Has the servers answered for that the guides name, but for those which one document alone has. */
async function answerForHubs(t, standIns) {
  const hub = await startModelHub();
  const { repo } = Object.values(DOCUMENTS).find(({ repo }) => repo);
  const taking = await startHub({ id: repo, revision: "main", sha: "0".repeat(40), files: {}, lfs: [] });
  t.after(() => Promise.all([hub.close(), taking.close()]));
  const isTaking = (path) => path.includes(`/${repo}`) || /^\/api\/(repos\/create|verify)$/.test(path);
  for (const name of ["https://huggingface.co", "https://hub.example.com"]) {
    standIns.answer(name, (path) =>
      isTaking(path)
        ? { at: taking.hub.origin, named: { [taking.hub.origin]: name, [taking.cdn.origin]: TAKES_LARGE } }
        : { at: hub.hub.origin, path: sameModel(path), named: { [hub.hub.origin]: name, [hub.cdn.origin]: LARGE } },
    );
  }
  standIns.answer("https://models.example.com", (path) => ({ at: hub.hub.origin, path: path.replace("/my-model/", "/plain/") }));
  standIns.answer(LARGE, () => ({ at: hub.cdn.origin }));
  standIns.answer(TAKES_LARGE, () => ({ at: taking.cdn.origin }));
}

/** The modules that use what the browser lacks, and those that take something from them. */
function skippedIn(name, modules) {
  const skipped = new Set();
  for (const { module, needs, text } of modules) {
    const is_lacking = LACKING[name].some(({ used }) => used.test(text));
    if (is_lacking || needs.some((one) => skipped.has(one))) skipped.add(module);
  }
  return skipped;
}

/** What a document needs before its first block: a project, a site with the page for its scripts, and the servers that are its own. */
async function prepare(t, { name, home, dist, standIns }, file, plan) {
  const { blocks, modules } = linked[file];
  assert.ok(blocks.length > 0, `${file} has no block`);
  const folder = startProject(join(home, file.replaceAll("/", "-")));
  const html = stagePage(blocks.filter(({ language, name }) => language === "html" && name === undefined).map(({ text }) => text));
  const texts = { "/": html, "/stage.js": stageScript(plan, ROWS), "/favicon.ico": "" };
  for (const { module, code, language } of modules) {
    const js = language === "ts" ? (await transformWithOxc(code, module)).code : code;
    texts[`/blocks/${module.replace(/\.ts$/, ".js")}`] = js;
  }
  const shared = { "/tabtune/": `${dist}/`, "/models/my-model/": `${paths.model}/` };
  const site = await startServer({ texts, folders: { ...shared, "/data/": `${folder}/`, "/tests/": join(paths.root, "tests/") } });
  t.after(() => site.close());
  if (plan.keep) {
    const headers = { "access-control-allow-origin": "*" };
    standIns.answer("https://gallery.example.org", (path) => ({ at: site.origin, path: `/data/${plan.keep}${path}`, headers }));
  }
  return { file, plan, blocks, modules, folder, html, site, shared, skipped: skippedIn(name, modules) };
}

/** Starts the federation of a document. That takes some seconds, in which others run. */
async function startLearning(t, standIns, { plan, site }) {
  const { base } = await federation(t, plan.learn, { origin: site.origin });
  standIns.answer("https://learn.example.org", () => ({ at: base }));
}

/**
 * Runs all documents in a browser, called `name`, as many side by side as it has `lanes`. `launch({ proxy_port, downloads })` launches
 * it and gives { open, close }; `downloads` is a folder for what it downloads. `open` gives a page, { goto, evaluate, broken, pick, close }:
 * `broken` is what the browser tells of errors, and `pick(selector, paths)` is there where it lets a test pick what lies on the disk.
 * `installed` is a project that has the package. Pages that bundlers make are opened `with_bundlers` alone.
 */
export async function runDocuments(t, { name, lanes, launch, home, installed, with_bundlers = false }) {
  const standIns = await startStandIns();
  t.after(() => standIns.close());
  await answerForHubs(t, standIns);
  const downloads = join(home, "downloads");
  mkdirSync(downloads);
  const browser = await launch({ proxy_port: standIns.port, downloads });
  t.after(() => browser.close());
  const world = { name, home, installed, dist: join(installed, "node_modules/tabtune/dist"), standIns, downloads, browser };

  const plans = Object.entries(DOCUMENTS).filter(([, { is_bundled }]) => with_bundlers || !is_bundled);
  const documents = await Promise.all(plans.map(([file, plan]) => prepare(t, world, file, plan)));
  const starting = new Map(documents.filter(({ plan }) => plan.learn).map((one) => [one, startLearning(t, standIns, one)]));
  for (const started of starting.values()) started.catch(() => {});

  await t.test(`what ${name} is said to lack, it lacks`, async () => {
    const page = await browser.open();
    await page.goto(`${documents[0].site.origin}/`);
    for (const { what, has, given } of LACKING[name]) assert.equal(await page.evaluate(has, given), false, what);
    await page.close();
  });
  await t.test("documents", { concurrency: lanes }, (t) =>
    Promise.all(
      documents.map((one) =>
        t.test(one.file, async (t) => {
          await starting.get(one);
          await runDocument(t, world, one);
        }),
      ),
    ),
  );
  const expected = plans.flatMap(([, { downloads = [] }]) => downloads);
  assert.deepEqual(readdirSync(downloads).sort(), expected.sort(), "what was downloaded");
}
