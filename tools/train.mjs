// What `./build.sh train` runs: a whole fine-tuning job in headless Chromium.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { launch } from "./lib/chromium.mjs";
import { Failure, trainOptions } from "./lib/options.mjs";
import { paths } from "./lib/paths.mjs";
import { answerLine, gpuLine, loadLine, megabytes, progress, seconds } from "./lib/report.mjs";
import { serve } from "./lib/server.mjs";

const LOGGED = ["step", "loss", "grad_norm", "learning_rate", "num_tokens", "tokens_per_second", "peak_gpu_bytes"];

/** The question that is asked before and after: the first user message of the held-out rows. */
async function firstQuestion(file) {
  const line = (await readFile(file, "utf8")).split("\n", 1)[0];
  try {
    const row = JSON.parse(line);
    return row.messages?.find(({ role }) => role === "user")?.content ?? row.prompt ?? "What is tabtune?";
  } catch {
    return "What is tabtune?"; // The import says what is wrong with the line.
  }
}

/** Runs in the page: the job from the model to the adapter's files. */
async function job({ question, config, data, heldout }) {
  const { tabtune, importFrom, toBase64, answer, outcome } = globalThis.runner;
  return outcome(async () => {
    const dataset = await importFrom("train", data);
    const eval_dataset = await importFrom("heldout", heldout);
    const trainer = await tabtune.Trainer.load("/model/", {
      ...config,
      eval_dataset,
      progress_callback: (event) => globalThis.report("loading", event),
    });
    await globalThis.report("model", { model: trainer.model, adapter: trainer.adapter });
    const plan = await trainer.prepare(dataset);
    await globalThis.report("plan", plan);
    await globalThis.report("answer", { when: "before", text: await answer(trainer, question, { adapter: false }) });
    await globalThis.report("eval", await trainer.evaluate());
    await globalThis.report("start");
    let last;
    for await (const log of trainer.train()) {
      last = log;
      await globalThis.report("eval_loss" in log ? "eval" : "step", log);
    }
    // The last eval_steps may have fallen on the last step.
    if (!("eval_loss" in (last ?? {}))) await globalThis.report("eval", await trainer.evaluate());
    await globalThis.report("end");
    await globalThis.report("answer", { when: "after", text: await answer(trainer, question) });
    const files = {};
    for (const [name, bytes] of Object.entries(await trainer.save())) files[name] = await toBase64(bytes);
    await trainer.dispose();
    return files;
  });
}

async function main() {
  const options = await trainOptions(process.argv.slice(2));
  const question = await firstQuestion(options.heldout);
  const mounts = {
    "/tabtune/": paths.package,
    "/runner/": paths.runner,
    "/model/": options.model,
    [`/data/${basename(options.data)}`]: options.data,
    [`/heldout/${basename(options.heldout)}`]: options.heldout,
  };
  const config = { ...options.config };
  if (config.init_adapter) {
    mounts["/init_adapter/"] = config.init_adapter;
    config.init_adapter = "/init_adapter/";
  }

  const server = await serve(mounts);
  const browser = await launch();
  try {
    const page = await browser.newPage();
    const log = [];
    const evals = [];
    let steps = 0;
    let training = false;
    let peak_gpu_bytes = 0;
    const stray = [];
    const line = progress();
    page.on("request", (request) => training && stray.push(request.url()));
    page.on("pageerror", (error) => line.say(`page: ${error.message}`));

    const reports = {
      loading: (event) => line.show(loadLine(event)),
      model: ({ model, adapter }) => {
        line.say(`model     ${basename(options.model)}: ${model.model_type}, ${(model.parameters / 1e6).toFixed(2)} M parameters, ` +
          `${megabytes(model.weight_bytes)} on the GPU`);
        line.say(`gpu       ${gpuLine(adapter)}`);
      },
      plan: (plan) => {
        peak_gpu_bytes = plan.peak_gpu_bytes;
        line.say(dataLine("data", options.data, plan.dataset));
        line.say(dataLine("held-out", options.heldout, plan.eval_dataset));
        for (const { message } of plan.dataset.notices) line.say(`notice    ${message}`);
        if (options.heldout === options.data) line.say("          no --eval was given: the loss before and after is that of the training rows");
        line.say(`plan      ${plan.total_steps} steps, ${megabytes(plan.peak_gpu_bytes)} of GPU memory`);
      },
      answer: ({ when, text }) => line.say(answerLine(when, question, text)),
      eval: (entry) => {
        evals.push(entry);
        log.push({ step: entry.step, eval_loss: entry.eval_loss });
        line.say(`step ${String(entry.step).padStart(5)}  held-out loss ${entry.eval_loss.toFixed(4)}`);
      },
      start: () => (training = true),
      step: (entry) => {
        steps = entry.step;
        peak_gpu_bytes = Math.max(peak_gpu_bytes, entry.peak_gpu_bytes);
        log.push(Object.fromEntries(LOGGED.map((name) => [name, entry[name]])));
        line.show(`step ${String(entry.step).padStart(5)}/${entry.total_steps}  loss ${entry.loss.toFixed(4)}  ` +
          `${entry.tokens_per_second.toFixed(0)} tokens/s  ${seconds(entry.remaining_seconds)} left`);
      },
      end: () => (training = false),
    };
    await page.exposeFunction("report", (kind, value) => {
      reports[kind](value);
    });

    await page.goto(`${server.origin}/runner/`);
    await page.waitForFunction(() => "runner" in globalThis);
    const started = performance.now();
    const { value: files, error } = await page.evaluate(job, {
      question,
      config,
      data: `/data/${encodeURIComponent(basename(options.data))}`,
      heldout: `/heldout/${encodeURIComponent(basename(options.heldout))}`,
    });
    line.end();
    if (error) throw new Failure(error.code, error.message);
    if (stray.length > 0) throw new Failure("internal", `a request was made while training: ${stray.join(", ")}`);

    await mkdir(options.out, { recursive: true });
    for (const [name, base64] of Object.entries(files)) {
      await writeFile(join(options.out, name), Buffer.from(base64, "base64"));
    }
    await writeFile(join(options.out, "log.jsonl"), log.map((entry) => `${JSON.stringify(entry)}\n`).join(""));
    console.log(`held-out  loss ${evals[0].eval_loss.toFixed(4)} before, ${evals.at(-1).eval_loss.toFixed(4)} after ${steps} steps`);
    console.log(`took      ${seconds((performance.now() - started) / 1000)} from the first byte of the model to the adapter`);
    console.log(`peak      ${megabytes(peak_gpu_bytes)} of GPU memory (${peak_gpu_bytes} bytes)`);
    console.log("network   no request while training");
    console.log(`adapter   ${options.out}`);
  } finally {
    await browser.close();
    await server.close();
  }
}

function dataLine(label, file, report) {
  const notes = [
    report.truncated && `${report.truncated} truncated`,
    report.dropped && `${report.dropped} dropped without a label`,
  ].filter(Boolean);
  return `${label.padEnd(9)} ${basename(file)}: ${report.kept} rows, ${report.tokens} tokens, ` +
    `${report.labelled_tokens} labelled${notes.map((note) => `, ${note}`).join("")}`;
}

try {
  await main();
} catch (error) {
  console.error(`error[${error instanceof Failure ? error.code : "internal"}]: ${error.message}`);
  process.exit(1);
}
