// Browser tabs that take part: the page that they show, what runs in it, and the rows that they have.
import { readFileSync } from "node:fs";
import { launch } from "../../tools/lib/chromium.mjs";
import { paths } from "../../tools/lib/paths.mjs";
import { serve } from "../../tools/lib/server.mjs";
import { mountsOf } from "../browser/support.mjs";

/**
 * Runs in a tab: joins with the rows at an address and takes part until the last round. From the first step of round `halts_in` on its
 * engine is asked for nothing more, so that it is in the midst of that round, as `halted` says, however fast it is.
 */
export async function takePart({ base, rows, heldout, halts_in }) {
  const { tabtune, importFrom, outcome } = globalThis.runner;
  const { Federation } = await import("/tabtune/federated.js");
  /** The loss on the held-out rows after as many steps on one's own rows as all rounds make. */
  const learnAlone = async (trainer, dataset, { train, rounds }) => {
    const { max_steps, num_train_epochs, ...others } = train;
    const length = max_steps ? { max_steps: max_steps * rounds } : { num_train_epochs: num_train_epochs * rounds };
    const all = { ...others, ...length, lr_scheduler_type: "constant", run_name: null };
    await trainer.train(dataset, all);
    return (await trainer.evaluate()).eval_loss;
  };
  return outcome(async () => {
    const terms = await Federation.terms(base);
    const datasets = [];
    for (const [name, address] of [["mine", rows], ["held out", heldout]]) {
      const found = (await tabtune.Dataset.list()).find((dataset) => dataset.name === name);
      datasets.push(found ? await tabtune.Dataset.open(name) : await importFrom(name, address));
    }
    const [dataset, eval_dataset] = datasets;
    const trainer = await tabtune.Trainer.load("/bundled/", { device: "cpu", lora: terms.lora, eval_dataset });
    const alone = await learnAlone(trainer, dataset, terms);
    const events = [];
    const on_event = (event) => {
      events.push(event);
      if (event.type !== "step" || events.findLast(({ type }) => type === "round").number !== halts_in) return;
      Worker.prototype.postMessage = () => {};
      globalThis.halted = true;
    };
    const federation = await Federation.join(base, { trainer, dataset, eval_dataset, on_event });
    const rounds = [];
    for await (const round of federation.rounds()) rounds.push(round);
    const { eval_loss } = await trainer.evaluate();
    const adapter = await trainer.save();
    await federation.leave();
    await trainer.dispose();
    const told = events.map(({ log, event, ...rest }) => rest);
    return { rounds, alone, offer: federation.offer, adapter: Object.keys(adapter), eval_loss, events: told };
  });
}

/** The runner's page, which may talk to other servers than its own. */
const PAGE = new TextEncoder().encode('<!doctype html><script type="module" src="/runner/runner.js"></script>');

/** What the rows say, of which nothing may leave. */
export const TEXTS = readFileSync(paths.data, "utf8").trim().split("\n").flatMap((row) => JSON.parse(row).messages.map(({ content }) => content));

/** A server with the package, and rows of the bundled questions that one and the other has. */
export async function site(t) {
  const lines = readFileSync(paths.data, "utf8").trim().split("\n");
  const rows = (from, to) => new TextEncoder().encode(`${lines.slice(from, to).join("\n")}\n`);
  const pages = { "/together.html": PAGE, "/favicon.ico": new Uint8Array() };
  const mounts = { ...mountsOf(), ...pages, "/first.jsonl": rows(0, 8), "/second.jsonl": rows(40, 48) };
  const server = await serve(mounts, { connects: ["http://127.0.0.1:*"] });
  t.after(() => server.close());
  return server;
}

/** Someone with a browser of their own, and so with a key of their own. */
export async function person(t, origin) {
  const browser = await launch({ gpu: "none" });
  t.after(() => browser.close());
  return async () => {
    const page = await browser.newPage();
    page.setDefaultTimeout(600_000);
    await page.goto(`${origin}/together.html`);
    await page.waitForFunction(() => "runner" in globalThis);
    return page;
  };
}
