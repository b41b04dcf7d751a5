// What `./build.sh bench federation --loss` runs: two tabs that learn together, once for each way in which their deltas travel.
import { readFileSync } from "node:fs";
import { launch } from "./lib/chromium.mjs";
import { paths } from "./lib/paths.mjs";
import { serve } from "./lib/server.mjs";
import { federation, termsOf } from "../tests/federated/support.mjs";

/** With noise A stays as it came, so that is here without noise too. */
const CLIPPED = { clip: 5, noise_multiplier: 0.02 };
const WAYS = {
  f32: {},
  f16: { delta_dtype: "f16" },
  nf4: { delta_dtype: "nf4" },
  masked: { privacy: { mask: true } },
  "A frozen": { freeze_a: true },
  "A frozen, clipped": { freeze_a: true, privacy: { clip: CLIPPED.clip } },
  "central noise": { privacy: { ...CLIPPED, noise: "central" } },
  "local noise": { privacy: { ...CLIPPED, noise: "local" } },
};
/** Ways that are measured at the same time: tabs wait more than they compute. */
const AT_ONCE = 4;
/** The rows of one tab and of the other. */
const ROWS = [[0, 8], [40, 48]];

/** Runs in a tab: takes part until the last round, with the loss on rows that only the other tab learns from. */
async function takePart(base) {
  const { tabtune, importFrom } = globalThis.runner;
  const { Federation } = await import("/tabtune/federated.js");
  const terms = await Federation.terms(base);
  const dataset = await importFrom("mine", "/mine.jsonl");
  const eval_dataset = await importFrom("held out", "/heldout.jsonl");
  const trainer = await tabtune.Trainer.load("/bundled/", { device: "cpu", lora: terms.lora });
  const done = [];
  const federation = await Federation.join(base, { trainer, dataset, eval_dataset });
  for await (const { number } of federation.rounds()) done.push(number);
  await federation.leave();
  await trainer.dispose();
  return done;
}

/** A server whose page has rows of its own; each has an origin of its own, and so a browser keeps a key for each. */
function siteWith(mine, heldout) {
  const lines = readFileSync(paths.data, "utf8").trim().split("\n");
  const rows = ([from, to]) => new TextEncoder().encode(`${lines.slice(from, to).join("\n")}\n`);
  const html = new TextEncoder().encode('<!doctype html><script type="module" src="/runner/runner.js"></script>');
  const pages = { "/index.html": html, "/favicon.ico": new Uint8Array(), "/mine.jsonl": rows(mine), "/heldout.jsonl": rows(heldout) };
  const mounts = { "/tabtune/": paths.package, "/runner/": paths.runner, "/bundled/": paths.model, ...pages };
  return serve(mounts, { connects: ["http://127.0.0.1:*"] });
}

/** Rounds of two tabs in one way; gives the history of their server. */
async function learn(browser, rounds, { freeze_a, ...more }) {
  const ends = [];
  try {
    const sites = [await siteWith(ROWS[0], ROWS[1]), await siteWith(ROWS[1], ROWS[0])];
    ends.push(...sites.map((site) => () => site.close()));
    const lora = { r: 8, lora_alpha: 16, target_modules: "all-linear", ...(freeze_a && { freeze_a }) };
    const train = { max_steps: 3, learning_rate: 0.01, per_device_train_batch_size: 2, max_length: 64 };
    const terms = termsOf({ rounds, lora, train, round_seconds: 300, ...more });
    const there = await federation({ after: (end) => ends.unshift(end) }, terms, { origin: sites.map(({ origin }) => origin) });
    const tabs = await Promise.all(
      sites.map(async ({ origin }) => {
        const page = await browser.newPage();
        page.setDefaultTimeout(0);
        await page.goto(`${origin}/index.html`);
        await page.waitForFunction(() => "runner" in globalThis);
        return page;
      }),
    );
    for (const done of await Promise.all(tabs.map((tab) => tab.evaluate(takePart, there.base)))) {
      if (done.length !== rounds) throw new Error(`a tab has done ${done.length} of ${rounds} rounds`);
    }
    await Promise.all(tabs.map((tab) => tab.close()));
    return there.history();
  } finally {
    for (const end of ends) await end();
  }
}

/** Tells the held-out loss by round for each way. */
export async function losses(rounds, report) {
  const browser = await launch({ gpu: "none" });
  try {
    const left = Object.entries(WAYS);
    const next = async () => {
      for (let way = left.shift(); way; way = left.shift()) {
        const [name, more] = way;
        const history = await learn(browser, rounds, more);
        const { bytes_up, epsilon } = history.at(-1);
        const eval_loss = history.map((entry) => Number(entry.eval_loss.toFixed(3)));
        report("loss", { way: name, eval_loss, array_bytes_up_a_client: bytes_up / 2, ...(epsilon && { epsilon: Math.round(epsilon) }) });
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, next));
  } finally {
    await browser.close();
  }
}
