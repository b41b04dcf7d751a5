// Holds a whole GGUF against llama.cpp: the ids of five prompts, and what the model goes on with, greedily.
//
//     ./build.sh build && node tools/check-gguf.mjs MODEL.gguf [LLAMA.gguf] [--vulkan]
//
// On the processor llama.cpp rounds activations to 8 bits where weights are quantised, so where two tokens are nearly as likely it
// may take the other one; how far apart its best two logits were is told where an answer differs. On the same values in F32
// (LLAMA.gguf, which tools/reference/gguf_f32.py writes) it rounds nothing, nor does its Vulkan backend in f32 on any file: for
// --vulkan unpack npm's @node-llama-cpp/linux-x64-vulkan, of the version of node-llama-cpp, over what is installed under that
// name. How well defined its answers are is told by those that it gives again with keys and values in halves.
import { basename, dirname, resolve } from "node:path";
import { parseArgs } from "node:util";
import { Template } from "@huggingface/jinja";
import { getLlama } from "node-llama-cpp";
import { launch } from "./lib/chromium.mjs";
import { paths } from "./lib/paths.mjs";
import { serve } from "./lib/server.mjs";

const TOKENS = 32;
/** llama.cpp's own switches: any Vulkan device, also one that the processor plays, and every product of f32 values in f32. */
const VULKAN_IN_F32 = {
  GGML_VK_VISIBLE_DEVICES: "0",
  GGML_VK_DISABLE_INTEGER_DOT_PRODUCT: "1",
  GGML_VK_DISABLE_F16: "1",
  GGML_VK_DISABLE_BFLOAT16: "1",
  GGML_VK_DISABLE_COOPMAT: "1",
  GGML_VK_DISABLE_COOPMAT2: "1",
};
const QUESTIONS = [
  "What is the capital of France, and what is it known for?",
  "Write a short story about a robot who learns to paint.",
  "Explain why the sky is blue, in three sentences.",
  "List four fruits and 12 vegetables; it's for a salad.\n\n  Thanks!",
  "Où puis-je trouver une bonne boulangerie à 東京 ? 🎉",
];

/** What llama.cpp makes of a question: a chat where the model has a template, and else a text. */
async function answerOf(model, question) {
  const template = model.fileInfo.metadata.tokenizer.chat_template;
  const bos = model.tokens.bos === null ? "" : model.detokenize([model.tokens.bos], true);
  let [prompt, text] = [{ prompt: question }, (model.tokens.shouldPrependBosToken ? bos : "") + question];
  if (template) {
    prompt = [{ role: "user", content: question }];
    text = new Template(template).render({ messages: prompt, add_generation_prompt: true, bos_token: bos });
  }
  const ids = [...model.tokenize(text, true)];
  const answer = await greedy(model, ids, "F32");
  const { tokens } = await greedy(model, ids, "F16");
  return { prompt, ids, ...answer, repeats: tokens.join() === answer.tokens.join() };
}

/** The likeliest tokens after `ids` up to one that ends the answer, and how far each was ahead of the next one, with keys
 * and values of a type. */
async function greedy(model, ids, cache) {
  const context = await model.createContext({
    contextSize: ids.length + TOKENS,
    threads: 1,
    flashAttention: false,
    experimentalKvCacheKeyType: cache,
    experimentalKvCacheValueType: cache,
    ignoreMemorySafetyChecks: true,
  });
  const sequence = context.getSequence();
  const [tokens, gaps] = [[], []];
  let input = ids;
  while (tokens.length < TOKENS) {
    const last = [input.at(-1), { generateNext: { logits: true } }];
    const { logits } = (await sequence.controlledEvaluate([...input.slice(0, -1), last])).at(-1).next;
    const [[best, logit], [, next]] = [...logits].sort(([, one], [, other]) => other - one);
    if (model.isEogToken(best)) break;
    tokens.push(best);
    gaps.push(logit - next);
    input = [best];
  }
  await context.dispose();
  return { tokens, gaps, text: model.detokenize(tokens) };
}

/** Runs in the page: the ids of each prompt as a row of training data has them, and the answer. */
async function ours({ model, prompts, max_new_tokens }) {
  const { tabtune, answer } = globalThis.runner;
  const trainer = await tabtune.Trainer.load(model, { device: "cpu" });
  const found = [];
  for (const [place, prompt] of prompts.entries()) {
    const dataset = await tabtune.Dataset.open(`prompt ${place}`);
    const row = Array.isArray(prompt) ? { prompt, completion: [{ role: "assistant", content: "." }] } : { text: prompt.prompt };
    await dataset.import(new Blob([JSON.stringify(row)]), { file_name: "row.jsonl" });
    const [{ tokens }] = await trainer.preview(dataset);
    const end = Array.isArray(prompt) ? tokens.findIndex(({ labelled }) => labelled) : tokens.length;
    found.push({ ids: tokens.slice(0, end).map(({ id }) => id), text: await answer(trainer, prompt, { max_new_tokens }) });
  }
  return found;
}

async function main([path, path_for_llama = path], { vulkan }) {
  if (vulkan) Object.assign(process.env, VULKAN_IN_F32);
  const backend = { gpu: vulkan && "vulkan", build: "never", skipDownload: true };
  const llama = await getLlama({ ...backend, progressLogs: false, logLevel: "error", maxThreads: 1 });
  const model = await llama.loadModel({ modelPath: path_for_llama, gpuLayers: vulkan ? "max" : 0, ignoreMemorySafetyChecks: true });
  const wanted = [];
  for (const question of QUESTIONS) wanted.push(await answerOf(model, question));

  const mounts = { "/tabtune/": paths.package, "/runner/": paths.runner, "/model/": dirname(path) };
  const server = await serve(mounts, { isolated: true });
  const browser = await launch({ gpu: "none" });
  const page = await browser.newPage();
  await page.goto(`${server.origin}/runner/`);
  await page.waitForFunction(() => "runner" in globalThis);
  const job = { model: `/model/${encodeURIComponent(basename(path))}`, prompts: wanted.map(({ prompt }) => prompt), max_new_tokens: TOKENS };
  const found = await page.evaluate(ours, job);
  await browser.close();
  await server.close();

  // A text row may close with the end of the text.
  const most_behind = model.fileInfo.metadata.tokenizer.chat_template ? 0 : 1;
  let same = 0;
  for (const [place, { ids, tokens, gaps, text }] of wanted.entries()) {
    const of_ours = found[place];
    const has_ids = ids.every((id, at) => id === of_ours.ids[at]) && of_ours.ids.length <= ids.length + most_behind;
    const agreed = tokens.findIndex((_, at) => !of_ours.text.startsWith(whole(model.detokenize(tokens.slice(0, at + 1)))));
    const is_same = has_ids && agreed === -1;
    same += is_same;
    console.log(`${is_same ? "same" : "OTHER"}  ${ids.length} ids${has_ids ? "" : " differ"}, ${tokens.length} tokens, ` +
      `${Math.min(...gaps).toFixed(3)} apart at least: ${JSON.stringify(text)}`);
    if (!has_ids) console.log(`       ${JSON.stringify(ids)}\n  ours ${JSON.stringify(of_ours.ids)}`);
    if (agreed !== -1) console.log(`       differs from token ${agreed}, at which they were ${gaps[agreed].toFixed(3)} apart: ${JSON.stringify(of_ours.text)}`);
  }
  const repeated = wanted.filter(({ repeats }) => repeats).length;
  console.log(`${same} of ${wanted.length} prompts have llama.cpp's ids and answer; with keys and values in halves it repeats ${repeated}`);
  await model.dispose();
  await llama.dispose();
  return same === wanted.length;
}

/** A text without the characters that its last tokens do not complete. */
function whole(text) {
  return text.replace(/\uFFFD+$/, "");
}

const { positionals, values } = parseArgs({ allowPositionals: true, options: { vulkan: { type: "boolean", default: false } } });
process.exit((await main(positionals.map((path) => resolve(path)), values)) ? 0 : 1);
