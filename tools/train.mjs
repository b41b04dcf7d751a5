// What `./build.sh train` runs: a whole fine-tuning job in headless Chromium.
import { appendFile, mkdir, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { launch } from "./lib/chromium.mjs";
import { Failure, isGguf, trainOptions } from "./lib/options.mjs";
import { paths } from "./lib/paths.mjs";
import { answerLine, gpuLine, loadLine, megabytes, progress, seconds } from "./lib/report.mjs";
import { serve } from "./lib/server.mjs";

const LOGGED = ["step", "loss", "grad_norm", "learning_rate", "num_tokens", "tokens_per_second", "peak_gpu_bytes"];

/** What runs on preferences tell beside the loss, of a step or of an evaluation. */
const METRIC = /^(eval_)?(rewards\/|logps\/|log_odds_|kl$|nll_loss$)/;

/** What steps of MeZO have in the place of a gradient's norm. */
const OF_MEZO = ["loss_plus", "loss_minus", "projected_grad", "zo_eps", "seed"];

/** Rows that are evaluated where none are held out. */
const SAMPLE_ROWS = 16;

/** Errors of a sample answer that say something of the model or the row, and nothing of the run. */
const NO_ANSWER = ["bad-data", "bad-model", "unsupported-model"];

/** Bytes of a model that leave the page at once. */
const PIECE_BYTES = 8 << 20;

/** Runs in the page: the job from the model to the adapter's files, or to the model's where it is to be written in `dtype`. */
async function job({ model, config, data, heldout, evaluated, sample_rows, no_answer, dtype, piece_bytes }) {
  const { tabtune, fill, questionOf, filesOf, toBase64, answer, outcome } = globalThis.runner;
  const { report } = globalThis;
  return outcome(async () => {
    const dataset = await tabtune.Dataset.open("train");
    const rows_of = { file: await tabtune.Dataset.open("held-out"), sample: dataset }[evaluated];
    const trainer = await tabtune.Trainer.load(model, {
      ...config,
      ...(rows_of && { eval_dataset: rows_of }),
      ...(evaluated === "sample" && { train: { max_eval_samples: sample_rows, ...config.train } }),
      progress_callback: (event) => report("loading", event),
    });
    await report("model", { model: trainer.model, adapter: trainer.adapter });
    await report("imported", await fill(dataset, data));
    if (heldout) await report("imported", await fill(rows_of, heldout));
    const plan = await trainer.prepare(dataset);
    await report("plan", plan);

    const [first] = await (heldout ? rows_of : dataset).rows(0, 1);
    const question = first && questionOf(first.row);
    // That a model cannot be asked does not keep it from being trained.
    const ask = async (when, adapter) => {
      if (!question) return;
      const answerTo = (prompt) => outcome(() => answer(trainer, prompt, { adapter, max_new_tokens: 64 }));
      let asked = await answerTo(question.prompt);
      if (asked.error?.code === "bad-model" && question.without_template) asked = await answerTo(question.without_template);
      if (asked.error && !no_answer.includes(asked.error.code)) throw asked.error;
      await report("answer", { when, question: question.text, text: asked.value, error: asked.error?.message });
    };
    /** Hands over the model, which may be larger than memory, in pieces. */
    const handOver = async () => {
      const { folder, files } = await trainer.save({ format: "safetensors", dtype, to: "opfs" });
      for (const { name } of files) {
        const file = await (await folder.getFileHandle(name)).getFile();
        for (let start = 0; start < file.size; start += piece_bytes) {
          await report("piece", { name, start, base64: await toBase64(file.slice(start, start + piece_bytes)) });
        }
      }
      return {};
    };
    const evaluate = async () => plan.eval_rows > 0 && report("eval", await trainer.evaluate());

    await ask("before", false);
    await evaluate();
    await report("start");
    let last;
    for await (const log of trainer.train()) {
      last = log;
      await report("eval_loss" in log ? "eval" : "step", log);
    }
    // The last eval_steps may have fallen on the last step.
    if (!("eval_loss" in (last ?? {}))) await evaluate();
    await report("end");
    await ask("after", true);
    const files = dtype === undefined ? await filesOf(trainer) : await handOver();
    await trainer.dispose();
    return files;
  });
}

async function main() {
  const options = await trainOptions(process.argv.slice(2));
  // The other parts of a GGUF lie beside the one that is named.
  const [folder, gguf] = isGguf(options.model) ? [dirname(options.model), basename(options.model)] : [options.model, ""];
  const mounts = {
    "/tabtune/": paths.package,
    "/runner/": paths.runner,
    "/model/": folder,
    [`/data/${basename(options.data)}`]: options.data,
    ...(options.heldout && { [`/heldout/${basename(options.heldout)}`]: options.heldout }),
  };
  // The address that the page has the model from means nothing to anyone else.
  const config = { ...options.config, base_model_name_or_path: options.model, device: options.device };
  if (config.init_adapter) {
    mounts["/init_adapter/"] = config.init_adapter;
    config.init_adapter = "/init_adapter/";
  }

  const server = await serve(mounts, { isolated: true });
  const browser = await launch();
  try {
    const page = await browser.newPage();
    const log = [];
    const evals = [];
    let steps = 0;
    let training = false;
    let peak_gpu_bytes = 0;
    let memory = "GPU memory";
    const evaluated = options.evaluated === "sample" ? "sample" : "held-out";
    const stray = [];
    const line = progress();
    page.on("request", (request) => training && stray.push(request.url()));
    page.on("pageerror", (error) => line.say(`page: ${error.message}`));

    const told = new Set();
    /** Says each notice once. */
    const tell = (...reports) => {
      for (const { message } of reports.flatMap((report) => report?.notices ?? [])) {
        if (!told.has(message)) line.say(`notice    ${message}`);
        told.add(message);
      }
    };
    const reports = {
      loading: (event) => line.show(loadLine(event)),
      model: ({ model, adapter }) => {
        if (adapter.backend === "cpu") memory = "memory";
        line.say(`model     ${basename(options.model)}: ${model.model_type}, ${(model.parameters / 1e6).toFixed(2)} M parameters, ` +
          `${megabytes(model.weight_bytes)} of ${memory}`);
        line.say(`adapter   ${gpuLine(adapter)}`);
        if (adapter.is_software && adapter.backend !== "cpu") {
          line.say("          the processor plays the GPU here: --device cpu is faster");
        }
        if (adapter.hint) line.say(`notice    ${adapter.hint}`);
        tell(model);
      },
      imported: (report) => {
        for (const [column, rows] of Object.entries(report.ignored_columns)) {
          line.say(`notice    column ${JSON.stringify(column)} is not used (in ${rows} rows)`);
        }
        tell(report);
      },
      plan: async (plan) => {
        peak_gpu_bytes = plan.peak_gpu_bytes;
        line.say(dataLine("train", options.data, plan.dataset));
        if (options.heldout) line.say(dataLine("held-out", options.heldout, plan.eval_dataset));
        tell(plan.dataset, plan.eval_dataset, plan);
        for (const sentence of evaluationLines(options.evaluated, plan)) line.say(sentence);
        line.say(`plan      ${plan.total_steps} steps, ${megabytes(plan.peak_gpu_bytes)} of ${memory}`);
        await mkdir(options.out, { recursive: true });
      },
      answer: ({ when, question, text, error }) => {
        line.say(error === undefined ? answerLine(when, question, text) : `${when.padEnd(9)} no answer: ${error}`);
      },
      eval: (entry) => {
        evals.push(entry);
        log.push({ step: entry.step, eval_loss: entry.eval_loss, ...metricsOf(entry) });
        line.say(`step ${String(entry.step).padStart(5)}  ${evaluated} loss ${entry.eval_loss.toFixed(4)}`);
      },
      start: () => (training = true),
      step: (entry) => {
        steps = entry.step;
        tell({ notices: entry.notice ? [entry.notice] : [] });
        peak_gpu_bytes = Math.max(peak_gpu_bytes, entry.peak_gpu_bytes);
        const names = "loss_plus" in entry ? [...LOGGED.filter((name) => name !== "grad_norm"), ...OF_MEZO] : LOGGED;
        log.push({ ...Object.fromEntries(names.map((name) => [name, entry[name]])), ...metricsOf(entry) });
        const margin = entry["rewards/margins"] === undefined ? "" : `  margin ${entry["rewards/margins"].toFixed(3)}`;
        line.show(`step ${String(entry.step).padStart(5)}/${entry.total_steps}  loss ${entry.loss.toFixed(4)}${margin}  ` +
          `${entry.tokens_per_second.toFixed(0)} tokens/s  ${seconds(entry.remaining_seconds)} left`);
      },
      end: () => (training = false),
      piece: ({ name, start, base64 }) => (start === 0 ? writeFile : appendFile)(join(options.out, name), Buffer.from(base64, "base64")),
    };
    await page.exposeFunction("report", (kind, value) => reports[kind](value));

    await page.goto(`${server.origin}/runner/`);
    await page.waitForFunction(() => "runner" in globalThis);
    const started = performance.now();
    const { value: files, error } = await page.evaluate(job, {
      model: `/model/${encodeURIComponent(gguf)}`,
      config,
      data: `/data/${encodeURIComponent(basename(options.data))}`,
      heldout: options.heldout && `/heldout/${encodeURIComponent(basename(options.heldout))}`,
      evaluated: options.evaluated,
      sample_rows: SAMPLE_ROWS,
      no_answer: NO_ANSWER,
      dtype: options.dtype,
      piece_bytes: PIECE_BYTES,
    });
    line.end();
    if (error) throw new Failure(error.code, error.message);
    if (stray.length > 0) throw new Failure("internal", `a request was made while training: ${stray.join(", ")}`);

    for (const [name, base64] of Object.entries(files)) {
      await writeFile(join(options.out, name), Buffer.from(base64, "base64"));
    }
    await writeFile(join(options.out, "log.jsonl"), log.map((entry) => `${JSON.stringify(entry)}\n`).join(""));
    const result = options.dtype === undefined ? "adapter" : "model";
    if (evals.length > 0) console.log(lossLine(evaluated, evals, steps));
    console.log(`took      ${seconds((performance.now() - started) / 1000)} from the first byte of the model to the ${result}`);
    console.log(`peak      ${megabytes(peak_gpu_bytes)} of ${memory} (${peak_gpu_bytes} bytes)`);
    console.log("network   no request while training");
    console.log(`${result.padEnd(9)} ${options.out}`);
  } finally {
    await browser.close();
    await server.close();
  }
}

/** What is evaluated, where no file of held-out rows says so. */
function evaluationLines(evaluated, { train_rows, eval_rows }) {
  if (evaluated === "share") {
    if (eval_rows === 0) return ["notice    test_size holds nothing out: all rows are the same"];
    return [`held-out  ${eval_rows} rows, and ${train_rows} are trained on`];
  }
  if (evaluated !== "sample") return [];
  return [
    "notice    no --eval and no test_size: nothing is held out, and the loss before and after is that of " +
      `${eval_rows} rows that are trained on`,
  ];
}

/** What of a line of the log is told of preferences. */
function metricsOf(entry) {
  return Object.fromEntries(Object.entries(entry).filter(([name]) => METRIC.test(name)));
}

function lossLine(evaluated, evals, steps) {
  const [before, after] = [evals[0], evals.at(-1)].map(({ eval_loss }) => eval_loss.toFixed(4));
  const rows = `${evals[0].rows} rows${evaluated === "sample" ? " that were trained on" : ""}`;
  return `${evaluated.padEnd(9)} loss ${before} before, ${after} after ${steps} steps, of ${rows}`;
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
