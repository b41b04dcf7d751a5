// What the guide to running a federation tells of the terms and of epsilon is what the server's app makes of them.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { paths } from "../../tools/lib/paths.mjs";

const guide = readFileSync(join(paths.root, "docs/guides/run-a-federation.md"), "utf8");

/** The rows of the guide's tables whose first cell is like this, as cells. */
const rowsLike = (first) =>
  guide.split("\n").filter((line) => line.startsWith("| ")).map((line) => line.split("|").slice(1, -1).map((cell) => cell.trim())).filter(([cell]) => first.test(cell));

function python(program, input = "") {
  const options = { cwd: join(paths.root, "federated/server"), input, encoding: "utf8" };
  return JSON.parse(execFileSync(join(paths.flower, "bin/python"), ["-c", program], options));
}

/** Fields of terms and of the objects in them, by their paths. */
const flat = (value, at = "") =>
  Object.entries(value).flatMap(([name, inner]) => {
    const is_object = typeof inner === "object" && inner !== null && !Array.isArray(inner);
    return is_object ? flat(inner, `${at}${name}.`) : [[`${at}${name}`, inner]];
  });

test("the guide has every field of the terms, with its default", () => {
  const [, example] = /```json\n([^]*?)```/.exec(guide);
  const given = JSON.parse(example);
  // The least of it, so that what is left out shows its default.
  const { version, name, operator, base_model_name_or_path, rounds, lora, train } = given;
  const { max_steps, learning_rate } = train;
  const least = { version, name, operator, base_model_name_or_path, rounds, lora, train: { max_steps, learning_rate } };
  const program = `
import dataclasses, json, sys
from tabtune_federated.terms import check_terms
given, least = json.load(sys.stdin)
check_terms(given)
terms = dataclasses.asdict(check_terms(least))
del terms["digest"]
print(json.dumps({"version": 1, **terms}))
`;
  // Where a round has steps, it has no epochs.
  const fields = [...flat(python(program, JSON.stringify([given, least]))), ["train.num_train_epochs", null]];
  const table = rowsLike(/^`[\w.]+`$/).filter(({ length }) => length === 4);
  const told = new Map(table.map(([name, , otherwise]) => [name.slice(1, -1), otherwise]));
  assert.deepEqual([...told.keys()].sort(), fields.map(([name]) => name).sort());
  const needed = new Set(flat(least).map(([name]) => name));
  for (const [name, value] of fields) {
    const otherwise = told.get(name);
    if (needed.has(name)) assert.equal(otherwise, "it is needed", name);
    else assert.deepEqual(JSON.parse(otherwise.slice(1, -1)), value, name);
  }
});

test("the guide's epsilons are the accountant's", () => {
  const program = `
import json
from tabtune_federated.privacy.accountant import Accountant
def epsilon(place, multiplier, rounds):
    accountant = Accountant(multiplier, 1e-5, place)
    accountant.spend(rounds)
    return f"{accountant.epsilon:.2f}"
print(json.dumps([[str(m), *(epsilon(p, m, r) for p in ("central", "local") for r in (1, 10, 100))] for m in (1, 2, 4, 8)]))
`;
  assert.deepEqual(rowsLike(/^\d$/), python(program));
});
