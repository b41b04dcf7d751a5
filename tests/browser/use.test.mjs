// The page is used again and again, and what was deleted leaves nothing behind. `./build.sh bench use` does so for minutes.
import assert from "node:assert/strict";
import { test } from "node:test";
import { openUse } from "./using.mjs";

/** What code that was compiled meanwhile, and caches of the browser, may take; a model that is left behind takes more. */
const NOISE_BYTES = 3e6;

test("training, talking, importing, switching and deleting leave nothing behind", async (t) => {
  const { begin, round, measure, complaints } = await openUse(t);
  await begin();
  await round();
  const before = await measure();
  for (let rounds = 0; rounds < 2; rounds++) await round();
  const after = await measure();
  t.diagnostic(`${after.memory - before.memory} bytes more memory after two rounds`);
  assert.deepEqual(after.things, before.things);
  assert.equal(after.shown, before.shown);
  assert.ok(after.memory - before.memory < NOISE_BYTES, `${after.memory - before.memory} bytes more memory`);
  assert.deepEqual(complaints, []);
});
