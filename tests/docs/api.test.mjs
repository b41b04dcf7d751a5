// The API pages are those of the declarations as they are now, and what the guides tell of codes and sizes is so.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { apiPages, exportedNames } from "../../tools/api-pages.mjs";
import { paths } from "../../tools/lib/paths.mjs";

const read = (file) => readFileSync(join(paths.root, file), "utf8");

test("docs/api is up to date", () => {
  const pages = apiPages();
  assert.deepEqual(readdirSync(join(paths.root, "docs/api")).sort(), Object.keys(pages).sort());
  for (const [name, text] of Object.entries(pages)) {
    assert.equal(read(`docs/api/${name}`), text, `docs/api/${name} is stale: run ./build.sh docs`);
  }
});

test("every export has a heading in docs/api", () => {
  const text = readdirSync(join(paths.root, "docs/api")).map((name) => read(`docs/api/${name}`)).join("\n");
  const names = exportedNames();
  assert.ok(names.includes("Trainer") && names.includes("StepLog") && names.includes("VERSION") && names.includes("Federation") && names.includes("Shelf"), names.join(", "));
  assert.deepEqual(names.filter((name) => !new RegExp(`^##? ${name}$`, "m").test(text)), []);
});

test("the guide to errors has every code, and no other", () => {
  const union = /export type ErrorCode =([^;]*);/.exec(read("www/package/errors.ts"))[1];
  const codes = [...union.matchAll(/"([a-z-]+)"/g)].map(([, code]) => code);
  const section = read("docs/guides/errors.md").split("## The codes")[1].split("\n## ")[0];
  const told = [...section.matchAll(/^\| `([a-z-]+)` \|/gm)].map(([, code]) => code);
  assert.deepEqual(told, codes);
});

/** What the guide tells the sizes of, file by file. */
const SIZED = [
  ...["index.js", "evaluation.js", "models.js", "worker.js", "wasm/tabtune.js", "wasm/tabtune_bg.wasm"],
  ...["federated.js", "federated-worker.js", "exchange.js"],
];

test("the sizes in the guide are within a tenth of what is built", () => {
  const rows = [...read("docs/guides/sizes-and-browsers.md").matchAll(/^\| `([\w./-]+)` \| ([\d ]+) \| ([\d ]+) \|/gm)];
  assert.deepEqual(rows.map(([, name]) => name), SIZED);
  for (const [, name, ...told] of rows) {
    const bytes = readFileSync(join(paths.package, name));
    const built = [bytes.length, gzipSync(bytes, { level: 9 }).length];
    for (const [index, count] of told.entries()) {
      const said = Number(count.replaceAll(" ", ""));
      assert.ok(Math.abs(said - built[index]) <= built[index] / 10, `${name}: ${said} is told, ${built[index]} is built`);
    }
  }
});
