// Writes www/package/federated/wire/proto/flower.ts from federated/proto/flower.proto: node tools/proto.mjs
//
// ts-proto's code reads and writes with the wire half of @bufbuild/protobuf alone: 8.5 kB after gzip with these messages,
// where protobuf-es' own generated code and its reflection make 26.6 kB.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { paths } from "./lib/paths.mjs";

/** What generates is needed here alone, so it is fetched when it is needed. */
const GENERATORS = ["@bufbuild/buf@1.75.0", "ts-proto@2.18.0"];
const OPTIONS = [
  "forceLong=bigint",
  "oneof=unions-value",
  "snakeToCamel=false",
  "outputJsonMethods=false",
  "outputPartialMethods=false",
  "outputServices=none",
  "esModuleInterop=true",
  "env=browser",
  "comments=false",
];

const template = {
  version: "v2",
  plugins: [{ local: "protoc-gen-ts_proto", out: join(paths.root, "www/package/federated/wire/proto"), opt: OPTIONS }],
};
const packages = GENERATORS.map((name) => `--package=${name}`);
const generate = ["buf", "generate", join(paths.root, "federated/proto"), "--template", JSON.stringify(template)];
// In a folder of its own, npm looks for them in no package.json.
const folder = mkdtempSync(join(tmpdir(), "tabtune-proto-"));
try {
  execFileSync("npm", ["exec", "--yes", ...packages, "--", ...generate], { cwd: folder, stdio: "inherit" });
} finally {
  rmSync(folder, { recursive: true });
}
