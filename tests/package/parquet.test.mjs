// Parquet files with a footer that lies: they are refused, without an end that never comes or memory by what they claim.
// FUZZ_INPUTS=1000000 tries so many.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";

import { drawing } from "../../tools/lib/drawing.mjs";
import { parquetPieces } from "../../www/package/build/sources/parquet.js";

const NAMES = ["plain", "groups", "nested", "paged", "types"];
const INPUTS = Number(process.env.FUZZ_INPUTS ?? 800);
const SEED = Number(process.env.FUZZ_SEED ?? 1);

/** Zigzag varints, as the footer has its numbers. */
const NUMBERS = [0, 1, 2, 127, 128, 2 ** 14, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 45, 2 ** 53, -1, -2, -(2 ** 40)].map((number) => {
  const bytes = [];
  for (let left = BigInt(number) >= 0n ? BigInt(number) * 2n : -BigInt(number) * 2n - 1n; ; left >>= 7n) {
    bytes.push(Number(left & 127n) | (left > 127n ? 128 : 0));
    if (left <= 127n) return bytes;
  }
});

/** The file with its footer damaged, whose length is right again. */
function damaged(file, draw) {
  const length = file.readUInt32LE(file.length - 8);
  const footer = [...file.subarray(file.length - 8 - length, file.length - 8)];
  for (let times = 1 + draw(4); times > 0; times--) {
    const at = draw(footer.length + 1);
    const kind = draw(6);
    if (kind === 0) footer[at] ^= 1 << draw(8);
    if (kind === 1) footer.splice(at, 1 + draw(8));
    if (kind === 2) footer.splice(at, 0, ...footer.slice(at, at + draw(40)));
    if (kind === 3) footer.splice(at, 0, ...NUMBERS[draw(NUMBERS.length)]);
    if (kind >= 4) {
      // A number in the place of one.
      let end = at;
      while (footer[end] & 128) end++;
      footer.splice(at, end + 1 - at, ...NUMBERS[draw(NUMBERS.length)]);
    }
  }
  const tail = Buffer.alloc(8, "____PAR1");
  tail.writeUInt32LE(draw(50) === 0 ? draw(2 ** 32) : footer.length);
  return Buffer.concat([file.subarray(0, file.length - 8 - length), Buffer.from(footer), tail]);
}

const filesOf = () => Promise.all(NAMES.map((name) => readFile(new URL(`../fixtures/parquet/${name}.parquet`, import.meta.url))));

const drawOf = (seed, number) => drawing(seed + Math.imul(number, 0x9e3779b1));

async function readAll(blob) {
  for await (const _ of parquetPieces("a.parquet", blob, { portion_bytes: 1000 }));
}

test("a column that stands twice in a footer, or in no schema, is refused before the reader fails where nobody hears it", async () => {
  const files = await filesOf();
  for (const number of [10, 24, 102, 139]) {
    const draw = drawOf(77, number);
    const blob = new Blob([damaged(files[draw(files.length)], draw)]);
    await assert.rejects(readAll(blob), { code: "bad-data", message: /its footer has the column .+ twice, or its schema does not have it/ });
  }
});

test("a schema that says to have fewer than no children below something is refused or read, and ends", async () => {
  const files = await filesOf();
  for (const number of [22676, 71619, 77606]) {
    const draw = drawOf(77, number);
    const blob = new Blob([damaged(files[draw(files.length)], draw)]);
    await readAll(blob).catch(({ code }) => assert.equal(code, "bad-data"));
  }
});

test("a Parquet file whose footer lies is refused or read, and ends", async () => {
  const files = await filesOf();
  const hex = (bytes) => bytes.toString("hex");
  let taken = 0;
  for (let number = 0; number < INPUTS; number++) {
    const draw = drawOf(SEED, number);
    const bytes = damaged(files[draw(files.length)], draw);
    let reads = 0;
    const slice = (start, end) => {
      assert.ok(++reads < 1000, `input ${number} of seed ${SEED} is read without end: ${hex(bytes)}`);
      return new Blob([bytes.subarray(Math.max(0, start), Math.max(0, end))]);
    };
    const began = process.cpuUsage();
    try {
      let pieces = 0;
      for await (const piece of parquetPieces("a.parquet", { size: bytes.length, slice }, { portion_bytes: 1000 })) {
        assert.ok(piece.bytes.length > 0 && ++pieces < 1000, `input ${number} of seed ${SEED} gives pieces without end: ${hex(bytes)}`);
      }
      taken++;
    } catch (error) {
      assert.ok(error.code === "bad-data", `input ${number} of seed ${SEED}: ${error.stack}: ${hex(bytes)}`);
    }
    const { user, system } = process.cpuUsage(began);
    const took = (user + system) / 1000;
    assert.ok(took < 5000, `input ${number} of seed ${SEED} takes ${took} ms of the processor: ${hex(bytes)}`);
  }
  console.log(`${INPUTS} inputs, ${taken} of them taken`);
});
