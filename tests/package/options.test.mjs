// The command line before anything is started: what it takes, and what it says of paths and options that are wrong.
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { trainOptions } from "../../tools/lib/options.mjs";
import { paths } from "../../tools/lib/paths.mjs";

const folder = mkdtempSync(join(tmpdir(), "tabtune-options-"));
after(() => rmSync(folder, { recursive: true, force: true }));
const write = (name, content) => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};
const rows = write("rows.jsonl", '{"text":"a"}\n');
const config = (name, value) => write(name, JSON.stringify(value));
const refused = (args, code, message) =>
  assert.rejects(trainOptions(args), (error) => error.code === code && message.test(error.message) && Boolean(error.message));

test("which rows are evaluated", async () => {
  const of = async (...args) => {
    const { evaluated, heldout } = await trainOptions(args);
    return [evaluated, heldout];
  };
  const share = config("share.json", { train: { test_size: 0.2 } });
  assert.deepEqual(await of(), ["file", paths.heldout]);
  assert.deepEqual(await of("--data", rows), ["sample", undefined]);
  assert.deepEqual(await of("--data", rows, "--eval", rows), ["file", rows]);
  assert.deepEqual(await of("--data", rows, "--config", share), ["share", undefined]);
  assert.deepEqual(await of("--config", share), ["share", undefined]);
  await refused(["--data", rows, "--eval", rows, "--config", share], "bad-option", /--eval and train\.test_size/);
});

test("a config may begin with a byte order mark, of whatever encoding", async () => {
  const text = '\ufeff{"train":{"max_steps":1}}';
  const big = Buffer.from(text, "utf16le").swap16();
  for (const [name, bytes] of [["8.json", text], ["16le.json", Buffer.from(text, "utf16le")], ["16be.json", big]]) {
    const { config } = await trainOptions(["--data", rows, "--config", write(name, bytes)]);
    assert.deepEqual(config, { train: { max_steps: 1 } });
  }
});

test("paths that are not what they should be are named", async () => {
  mkdirSync(join(folder, "data"));
  write("data/train.jsonl", "");
  const data = join(folder, "data");
  await refused(["--data", data], "io", /--data .*data is a folder; name one of its files \(train\.jsonl\)/);
  await refused(["--data", rows, "--eval", data], "io", /--eval .* is a folder/);
  await refused(["--data", join(folder, "nowhere.jsonl")], "io", /--data .*nowhere\.jsonl does not exist/);
  await refused(["--config", data], "io", /--config .* is a folder/);
  await refused(["--model", rows], "io", /--model .*rows\.jsonl is a file; name the folder/);
  await refused(["--model", join(folder, "nowhere")], "io", /there is no folder .*nowhere$/);
  await refused(["--model", "./some/where"], "io", /there is no folder \.\/some\/where$/);
  for (const id of ["HuggingFaceTB/SmolLM2-135M-Instruct", "https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct"]) {
    await refused(["--model", id], "io", new RegExp(`no folder ${id}; the command line takes a folder.*download`));
  }
  await refused(["--data", rows, "--out", rows], "io", /--out .* is a file/);
  const full = config("full.json", { train: { finetuning_type: "full" } });
  await refused(["--data", rows, "--config", full, "--out", paths.model], "bad-option", /--out .* is where the model itself lies/);
  await refused(["--data", rows, "--config", full, "--dtype", "q8_0"], "bad-option", /dtype is "q8_0", not one of f32, bf16, f16/);
  await refused(["--data", rows, "--dtype", "bf16"], "bad-option", /--dtype is for runs whose train\.finetuning_type is "full"/);
  await refused(["--data", rows, "--config", config("start.json", { init_adapter: "nowhere" })], "io", /init_adapter: there is no folder .*nowhere/);
});

test("an option without a value, or of another program, is refused", async () => {
  await refused(["--nope", "1"], "bad-option", /--nope/);
  await refused(["--data"], "bad-option", /--data/);
  await refused(["--config", config("list.json", [])], "bad-option", /must hold a JSON object/);
  await refused(["--config", config("flat.json", { max_steps: 1 })], "bad-option", /unknown part "max_steps".*belong into "train"/);
  await refused(["--config", write("broken.json", "{")], "bad-option", /broken\.json/);
});
