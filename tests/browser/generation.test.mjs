// Answers: streamed, repeatable, with the adapter on and off, and an adapter that is read back.
import assert from "node:assert/strict";
import { test } from "node:test";
import { paths } from "../../tools/lib/paths.mjs";
import { bundledConfig, bytesOf, fewRows, openLab, valueOf } from "./support.mjs";

/** Runs in the page: asks a trainer that has trained a little, in several ways. */
async function interview(config) {
  const { tabtune, importFrom, answer, filesOf, outcome } = globalThis.runner;
  const eval_dataset = await importFrom("heldout", "/heldout.jsonl");
  const trainer = await tabtune.Trainer.load("/bundled/", { ...config, eval_dataset });
  const question = "What is tabtune?";
  const short = { max_new_tokens: 24 };
  const untouched = await answer(trainer, question, short);
  for await (const _ of trainer.train(await importFrom("rows", "/rows.jsonl")));
  // So hot that even a model that is sure of its answer strays from it.
  const sampled = { ...short, adapter: false, temperature: 5, top_p: 0.9 };
  const answers = {
    untouched,
    base: await answer(trainer, question, { ...short, adapter: false }),
    tuned: await answer(trainer, question, short),
    again: await answer(trainer, question, short),
    sampled: await answer(trainer, question, { ...sampled, seed: 1 }),
    sampled_again: await answer(trainer, question, { ...sampled, seed: 1 }),
    sampled_otherwise: await answer(trainer, question, { ...sampled, seed: 2 }),
  };

  const pieces = [];
  const streamed = trainer.generate([{ role: "user", content: question }], short);
  let last;
  while (!(last = await streamed.next()).done) pieces.push(last.value);

  const controller = new AbortController();
  const cancelled = await outcome(async () => {
    const options = { max_new_tokens: 400, temperature: 1, seed: 3, signal: controller.signal };
    for await (const _ of trainer.generate([{ role: "user", content: question }], options)) controller.abort();
  });
  for await (const _ of trainer.generate([{ role: "user", content: question }], { max_new_tokens: 400 })) break;
  const after = await answer(trainer, question, short);
  const wrong = await outcome(() => answer(trainer, question, { temperature: -1 }));
  const { eval_loss } = await trainer.evaluate();
  const files = await filesOf(trainer);
  await trainer.dispose();
  return { answers, pieces, result: last.value, cancelled, after, wrong, eval_loss, files };
}

test("generation", async (t) => {
  const lab = await openLab(t, { device: "cpu" });
  // So few that a short run learns them.
  lab.mounts["/rows.jsonl"] = fewRows(paths.data);
  const config = bundledConfig({ max_steps: 12 });
  let trained_loss;

  await t.test("answers with the adapter on and off, streamed and repeatable", async () => {
    const { answers, pieces, result, cancelled, after, wrong, eval_loss, files } = await lab.page.evaluate(interview, config);
    assert.ok(answers.base.length > 0);
    assert.equal(answers.untouched, answers.base, "training leaves the base model as it was");
    assert.notEqual(answers.tuned, answers.base);
    assert.equal(answers.tuned, answers.again);
    assert.equal(answers.sampled, answers.sampled_again);
    assert.notEqual(answers.sampled, answers.sampled_otherwise);
    assert.equal(pieces.join(""), answers.tuned);
    assert.equal(result.text, answers.tuned);
    assert.ok(result.tokens <= 24 && ["eos", "length"].includes(result.stop));
    assert.equal(cancelled.error?.code, "cancelled");
    assert.equal(after, answers.tuned, "a generation that was left does not disturb the next");
    assert.equal(wrong.error?.code, "bad-option");
    assert.match(wrong.error.message, /temperature/);
    trained_loss = eval_loss;
    for (const [name, base64] of Object.entries(files)) lab.mounts[`/saved/${name}`] = bytesOf(base64);
  });

  await t.test("an adapter that was saved can be started from", async () => {
    const second = valueOf(
      await lab.run({
        config: { ...config, train: { ...config.train, max_steps: 1 } },
        heldout: "/heldout.jsonl",
        init_adapter: "/saved/",
        evaluate: true,
      }),
    );
    assert.equal(second.evals[0].eval_loss, trained_loss);
  });

  await t.test("an adapter that was saved answers without a run, and others are switched to", async () => {
    const { base, loaded, again, off, names, saved } = await lab.page.evaluate(async (quantization) => {
      const { tabtune, answer } = globalThis.runner;
      const trainer = await tabtune.Trainer.load("/bundled/", { quantization, init_adapter: "/saved/" });
      const ask = (options) => answer(trainer, "What is tabtune?", { max_new_tokens: 24, ...options });
      const [base, loaded] = [await ask({ adapter: false }), await ask({ adapter: true })];
      const files = await trainer.save();
      await trainer.adapters.load("again", files);
      const names = (await trainer.adapters.list()).map(({ name }) => name);
      const again = await ask({});
      await trainer.adapters.off();
      const off = await ask({});
      await trainer.dispose();
      const saved = JSON.parse(new TextDecoder().decode(files["adapter_config.json"]));
      return { base, loaded, again, off, names, saved };
    }, config.quantization);
    assert.notEqual(loaded, base);
    assert.deepEqual([again, off, names], [loaded, base, ["again", "default"]]);
    assert.equal(saved.base_model_name_or_path, `${lab.server.origin}/bundled/`);
  });
});
