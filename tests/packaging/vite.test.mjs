// The packed package, installed into a small Vite project that trains with it.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { launch } from "../../tools/lib/chromium.mjs";
import { paths } from "../../tools/lib/paths.mjs";
import { serve } from "../../tools/lib/server.mjs";

const PACKED_BYTES_MAX = 2_500_000;
const source = join(paths.root, "www/package");

/** Runs one of this tree's own programs, so that the consumer needs nothing from a registry. */
function own(program, args, cwd) {
  execFileSync(process.execPath, [join(paths.root, "node_modules", program), ...args], { cwd, stdio: "pipe" });
}

test("the packed package", async (t) => {
  const folder = mkdtempSync(join(tmpdir(), "tabtune-consumer-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const [packed] = JSON.parse(
    execFileSync("npm", ["pack", "--json", "--pack-destination", folder], { cwd: source, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }),
  );
  const { version } = JSON.parse(readFileSync(join(source, "package.json"), "utf8"));

  await t.test("holds what it needs and nothing else", (t) => {
    const names = packed.files.map(({ path }) => path);
    for (const name of ["LICENSE", "README.md", "package.json", "dist/index.js", "dist/index.d.ts", "dist/worker.js", "dist/wasm/tabtune_bg.wasm"]) {
      assert.ok(names.includes(name), `${name} is missing`);
    }
    const strange = names.filter((name) => !/^(LICENSE|README\.md|package\.json|dist\/([a-z]+|wasm\/tabtune)(\.d\.ts|\.js)|dist\/wasm\/tabtune_bg\.wasm)$/.test(name));
    assert.deepEqual(strange, []);
    t.diagnostic(`${packed.size} bytes packed, ${packed.unpackedSize} unpacked`);
    assert.ok(packed.size <= PACKED_BYTES_MAX, `${packed.size} bytes`);
  });

  await t.test("type-checks, builds and trains in a Vite project", async () => {
    const project = join(folder, "project");
    cpSync(fileURLToPath(new URL("consumer", import.meta.url)), project, { recursive: true });
    execFileSync("npm", ["install", "--offline", "--no-audit", join(folder, packed.filename)], { cwd: project, stdio: "pipe" });
    own("typescript/bin/tsc", ["-p", project], project);
    own("vite/bin/vite.js", ["build", "--logLevel", "warn", "--target", "es2022"], project);

    const server = await serve({ "/": join(project, "dist"), "/model/": paths.model });
    const browser = await launch();
    try {
      const page = await browser.newPage();
      await page.goto(server.origin);
      await page.waitForFunction(() => "result" in globalThis, undefined, { timeout: 120_000 });
      const { result, shown } = await page.evaluate(() => ({ result: globalThis.result, shown: globalThis.VERSION }));
      assert.ok(Array.isArray(result), JSON.stringify(result));
      assert.deepEqual(result.map(({ step }) => step), [1, 2]);
      assert.ok(result.every(({ loss }) => Number.isFinite(loss)));
      assert.equal(shown, version, "the version in the code is the package's");
    } finally {
      await browser.close();
      await server.close();
    }
  });
});
