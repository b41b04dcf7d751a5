// The packed package in one project: type-checked as strictly as it gets, then trained with in Chromium
// as Vite serves and builds it, as webpack builds it, and with no build at all.
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { cpSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { createServer } from "vite";
import webpack from "webpack";
import { launch } from "../../tools/lib/chromium.mjs";
import { paths } from "../../tools/lib/paths.mjs";
import { serve } from "../../tools/lib/server.mjs";
import { consumer, own, version } from "./support.mjs";

const html = (head) => new TextEncoder().encode(`<!doctype html><html lang="en"><head>${head}</head><body></body></html>`);

// Two at a time: one builds or serves while the other trains.
test("a project with the packed package", { concurrency: 2 }, async (t) => {
  const project = consumer(t);
  const browser = await launch();
  t.after(() => browser.close());

  /** Opens a page with main.ts, which trains a step on a GPU and one on the processor. */
  async function trains(address, prepare = () => {}) {
    const page = await browser.newPage();
    // Another page trains meanwhile, and bundlers take their time.
    page.setDefaultTimeout(600_000);
    try {
      await prepare(page);
      await page.goto(address);
      await page.waitForFunction(() => "result" in globalThis);
      const { result, VERSION } = await page.evaluate(() => ({ result: globalThis.result, VERSION: globalThis.VERSION }));
      assert.ok(Array.isArray(result), JSON.stringify(result));
      assert.deepEqual(result.map(({ step }) => step), [1, 1]);
      assert.ok(Math.abs(result[0].loss / result[1].loss - 1) < 1e-4, `${result[0].loss} and ${result[1].loss}`);
      assert.match(VERSION, /\+[0-9a-f]{12}$/, "it is stamped");
      assert.equal(VERSION.split("+")[0], version, "the version in the code is the package's");
    } finally {
      await page.close();
    }
  }

  /** Serves a page with main.ts and trains there, under a policy that admits nothing inline. */
  async function trainsServed(mounts, prepare) {
    const server = await serve({ ...mounts, "/model/": paths.model }, { isolated: true });
    try {
      await trains(`${server.origin}/index.html`, prepare);
    } finally {
      await server.close();
    }
  }

  await t.test("type-checks for bundlers and for Node, with every exported name", async () => {
    // This writes main.js too, which webpack and the page without a build take.
    await own("typescript/bin/tsc", ["-p", project], project);
    await own("typescript/bin/tsc", ["-p", project, "--noEmit", "--module", "nodenext", "--moduleResolution", "nodenext"], project);

    const dist = join(project, "node_modules/tabtune/dist");
    const declared = (name) => readFileSync(join(dist, name), "utf8");
    const listed = (name) => {
      const lists = [...declared(name).matchAll(/export (?:type )?\{([^}]*)\}/g)].flatMap(([, list]) => list.split(","));
      return lists.map((name) => name.trim().split(" ").at(-1));
    };
    const typed = [...readdirSync(join(dist, "types")).map((name) => `types/${name}`), "evaluation/types.d.ts"];
    const types = [...typed.map(declared).join("").matchAll(/^export (?:interface|type) (\w+)/gm)].map(([, name]) => name);
    const entries = {
      "names.ts": listed("index.d.ts").concat(types),
      "federated.ts": listed("federated.d.ts"),
      "exchange.ts": listed("exchange/index.d.ts"),
    };
    const found = ["Trainer", "StepLog", "Federation", "Shelf"];
    assert.deepEqual(found.filter((name) => !Object.values(entries).flat().includes(name)), [], "the names were not found");
    for (const [file, names] of Object.entries(entries)) {
      const used = new Set(readFileSync(join(project, file), "utf8").split(/\W+/));
      assert.deepEqual(names.filter((name) => !used.has(name)), [], `${file} does not use these`);
    }
  });

  const served = t.test("trains as Vite serves it during development", async () => {
    cpSync(paths.model, join(project, "model"), { recursive: true });
    const server = await createServer({ root: project, configFile: false, logLevel: "warn" });
    try {
      await server.listen();
      await trains(server.resolvedUrls.local[0]);
    } finally {
      await server.close();
    }
  });

  const plain = t.test("trains with an import map and no build", async () => {
    const map = JSON.stringify({ imports: { tabtune: "./node_modules/tabtune/dist/index.js" } });
    const page = html(`<script type="importmap">${map}</script><script type="module" src="main.js"></script>`);
    const hash = createHash("sha256").update(map).digest("base64");
    await trainsServed({ "/": project, "/index.html": page }, (page) =>
      // An import map can only be inline, so the policy has to name it.
      page.route("**/index.html", async (route) => {
        const response = await route.fetch();
        const { "content-security-policy": policy, ...headers } = response.headers();
        const widened = policy.replace("script-src 'self'", `script-src 'self' 'sha256-${hash}'`);
        await route.fulfill({ response, headers: { ...headers, "content-security-policy": widened } });
      }),
    );
  });
  // What is built lies in the folder that is served, so it waits.
  await Promise.all([served, plain]);

  const built = t.test("trains as Vite builds it", async () => {
    await own("vite/bin/vite.js", ["build", "--logLevel", "warn", "--outDir", "vite", "--target", "es2022"], project);
    await trainsServed({ "/": join(project, "vite") });
  });

  const packed = t.test("trains as webpack builds it", async () => {
    const output = { path: join(project, "webpack") };
    // Its hints on sizes are about scripts that every visitor waits for.
    const options = { mode: "production", context: project, entry: "./main.js", output, performance: false };
    const stats = await promisify(webpack)(options);
    assert.deepEqual(stats.toJson({ all: false, errors: true, warnings: true }), { errors: [], warnings: [] });
    await trainsServed({ "/": output.path, "/index.html": html('<script type="module" src="main.js"></script>') });
  });
  await Promise.all([built, packed]);
});
