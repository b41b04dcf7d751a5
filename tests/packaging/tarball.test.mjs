// What is published, and how large it is.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { paths } from "../../tools/lib/paths.mjs";
import { pack } from "./support.mjs";

/**
 * The most bytes of the tarball, and of files in it as they are or after gzip. Learning together and the exchange of adapters have
 * files of their own, some 75 kB of the tarball, which only pages load that use them.
 */
const PACKED_MAX = 2_460_000;
const BUDGETS = [
  { name: "wasm/tabtune_bg.wasm", gzip: true, max: 1_900_000 },
  { name: "index.js", gzip: false, max: 75_000 },
  { name: "evaluation.js", gzip: false, max: 36_000 },
  { name: "models.js", gzip: false, max: 41_000 },
  { name: "exchange.js", gzip: false, max: 128_000 },
  { name: "federated.js", gzip: false, max: 19_000 },
  { name: "federated-worker.js", gzip: false, max: 160_000 },
  { name: "worker.js", gzip: false, max: 480_000 },
  { name: "machine.js", gzip: false, max: 20_000 },
  { name: "kernel-worker.js", gzip: false, max: 4_000 },
  { name: "wasm/kernels_simd128.wasm", gzip: true, max: 104_000 },
  { name: "wasm/kernels_relaxed_simd.wasm", gzip: true, max: 104_000 },
];

test("the packed package", async (t) => {
  const { files, size, unpackedSize } = pack(t);

  await t.test("holds what it needs and nothing else", () => {
    const names = files.map(({ path }) => path);
    const needed = ["LICENSE", "README.md", "package.json"].concat(
      [
        "THIRD-PARTY-LICENSES.txt",
        "index.js",
        "evaluation.js",
        "models.js",
        "exchange.js",
        "federated.js",
        "federated-worker.js",
        "worker.js",
        "machine.js",
        "kernel-worker.js",
        "index.d.ts",
        "wasm/tabtune.js",
        "wasm/tabtune_bg.wasm",
        "wasm/kernels_simd128.wasm",
        "wasm/kernels_relaxed_simd.wasm",
      ].map((name) => `dist/${name}`),
    );
    assert.deepEqual(needed.filter((name) => !names.includes(name)), [], "these are missing");
    const declarations = /^dist\/([a-z]+\/)*[a-z_-]+\.d\.ts$/;
    assert.deepEqual(names.filter((name) => !needed.includes(name) && !declarations.test(name)), [], "these are too many");
  });

  await t.test("names no folder of the machine that built it", () => {
    const programs = files.map(({ path }) => path).filter((path) => /\.(js|wasm)$/.test(path));
    const folders = [`${homedir()}/`, `${paths.root}/`, "/registry/src/"];
    for (const path of programs) {
      const program = readFileSync(join(paths.package, path.replace(/^dist\//, "")), "latin1");
      assert.deepEqual(folders.filter((folder) => program.includes(folder)), [], path);
    }
  });

  await t.test("costs those who learn together 60 kB more at most, after gzip", (t) => {
    const sizes = ["federated.js", "federated-worker.js"].map((name) => gzipSync(readFileSync(join(paths.package, name)), { level: 9 }).length);
    const sum = sizes.reduce((sum, size) => sum + size, 0);
    t.diagnostic(`${sizes.join(" + ")} bytes`);
    assert.ok(sum <= 60_000, `${sum} bytes`);
  });

  await t.test("keeps to its budgets", (t) => {
    t.diagnostic(`${size} bytes packed of ${PACKED_MAX}, ${unpackedSize} unpacked`);
    assert.ok(size <= PACKED_MAX, `${size} bytes`);
    for (const { name, gzip, max } of BUDGETS) {
      const bytes = readFileSync(join(paths.package, name));
      const { length } = gzip ? gzipSync(bytes, { level: 9 }) : bytes;
      t.diagnostic(`${name}: ${length} bytes${gzip ? " after gzip" : ""} of ${max}`);
      assert.ok(length <= max, `${name} has ${length} bytes`);
    }
  });
});
