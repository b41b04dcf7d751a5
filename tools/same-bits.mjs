// Whether a change of the engine keeps its numbers: trains the fixture models natively on this machine's adapter and
// compares every loss, gradient norm and adapter with those of an earlier run, bit by bit.
//
//   git stash; node tools/same-bits.mjs out/bits.json    # writes what the tree gives before
//   git stash pop; node tools/same-bits.mjs out/bits.json    # compares

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

const root = path.resolve(import.meta.dirname, "..");
const models = path.join(root, "tests/fixtures/models");
const [kept] = process.argv.slice(2);
if (kept === undefined) {
  console.error("usage: node tools/same-bits.mjs FILE.json");
  process.exit(2);
}

execFileSync("cargo", ["build", "-p", "tabtune-train"], { cwd: root, stdio: "inherit" });

/** The log of a case and the hash of the adapter that it ends with, at each of two dropouts. */
function bits(name, work, dropout) {
  const folder = path.join(models, name);
  const config = JSON.parse(readFileSync(path.join(folder, "config.json"), "utf8"));
  config.init_adapter = path.join(folder, "adapter");
  config.lora = { ...config.lora, lora_dropout: dropout };
  const file = path.join(work, "config.json");
  writeFileSync(file, JSON.stringify(config));
  const data = path.join(folder, "data.jsonl");
  const out = path.join(work, "out");
  const args = ["--model", path.join(folder, "model"), "--data", data, "--eval", data, "--config", file, "--out", out];
  execFileSync(path.join(root, "target/debug/tabtune-train"), args, { stdio: ["ignore", "ignore", "inherit"] });
  const lines = readFileSync(path.join(out, "log.jsonl"), "utf8").trim().split("\n");
  const adapter = readFileSync(path.join(out, "adapter_model.safetensors"));
  return {
    log: lines.map((line) => JSON.parse(line)).map(({ step, loss, grad_norm, eval_loss }) => ({ step, loss, grad_norm, eval_loss })),
    adapter: createHash("sha256").update(adapter).digest("hex"),
  };
}

const found = {};
for (const name of readdirSync(models).sort()) {
  for (const dropout of [0, 0.25]) {
    const work = mkdtempSync(path.join(tmpdir(), "same-bits-"));
    found[`${name} with dropout ${dropout}`] = bits(name, work, dropout);
    rmSync(work, { recursive: true });
  }
}

if (!existsSync(kept)) {
  mkdirSync(path.dirname(path.resolve(kept)), { recursive: true });
  writeFileSync(kept, JSON.stringify(found));
  console.log(`wrote ${kept}: ${Object.keys(found).length} runs`);
  process.exit(0);
}
const before = JSON.parse(readFileSync(kept, "utf8"));
const changed = Object.keys(before).filter((name) => JSON.stringify(before[name]) !== JSON.stringify(found[name]));
for (const name of changed) console.log(`differs: ${name}`);
console.log(`${Object.keys(before).length - changed.length} of ${Object.keys(before).length} runs have the same bits`);
process.exit(changed.length === 0 ? 0 : 1);
