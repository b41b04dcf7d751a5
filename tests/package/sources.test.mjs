// What the browser gives as training data, from the page's side to the worker's.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { strToU8, zipSync } from "fflate";

import { openSource } from "../../www/package/build/sources/open.js";
import { parquetPieces } from "../../www/package/build/sources/parquet.js";
import { sendable } from "../../www/package/build/sources/send.js";

const MIB = 1 << 20;

/** What the worker receives of a source that the page sends. */
function sent(source, name = "data") {
  const { source: message, transfer, close } = sendable(source, name);
  return { received: structuredClone(message, { transfer }), close };
}

/** Every file of what was sent, with its text put together. */
async function filesOf(received) {
  const files = [];
  for await (const { name, size, format, pieces } of openSource(received)) {
    const parts = [];
    let last = 0;
    for await (const { bytes, loaded } of pieces()) {
      assert.ok(bytes.length > 0 && bytes.length <= MIB, `a piece of ${bytes.length} bytes`);
      assert.ok(loaded >= last, "loaded goes up");
      last = loaded;
      parts.push(bytes);
    }
    files.push({ name, size, format, loaded: last, text: Buffer.concat(parts).toString() });
  }
  return files;
}

const read = (source, name) => filesOf(sent(source, name).received);

/** The text of a source that is one file. */
async function textOf(source, name) {
  const files = await read(source, name);
  assert.equal(files.length, 1);
  return files[0].text;
}

const rowsIn = (text) => text.trimEnd().split("\n").map((line) => JSON.parse(line));

/** What `assert.rejects` and `assert.throws` compare an error with. */
const failure = (code, message) => ({ name: "TabtuneError", code, message });

/** An exception of the caller's own stream or iterator. */
const sourceFailure = (name, cause) => failure("io", `${name}: the source of the data failed: ${cause}`);

/** Lets messages and promises settle, where nothing is to come of them. */
const settle = () => new Promise((resolve) => setTimeout(resolve, 20));

/** Waits for what messages bring about. */
async function until(is_so) {
  for (let times = 0; times < 1000 && !is_so(); times++) await settle();
}

function streamOf(...chunks) {
  return new ReadableStream({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(typeof chunk === "string" ? Buffer.from(chunk) : chunk);
      controller.close();
    },
  });
}

function fileAt(path, text) {
  const file = new File([text], path.split("/").at(-1));
  if (path.includes("/")) Object.defineProperty(file, "webkitRelativePath", { value: path });
  return file;
}

// ---- files -----------------------------------------------------------------------------------------

test("a Blob comes in pieces, with how much was read", async () => {
  const text = "0123456789abcdef".repeat(2.5 * MIB / 16);
  const [file] = await read(new Blob([text]), "train.jsonl");
  assert.deepEqual({ ...file, text: undefined }, {
    name: "train.jsonl",
    size: text.length,
    format: undefined,
    loaded: text.length,
    text: undefined,
  });
  assert.equal(file.text, text);
  assert.equal(await textOf(new Blob([]), "empty"), "");
  assert.equal(await textOf(new Blob(["a"]), "short"), "a");
});

test("a list of files gives those that can be read, by path", async () => {
  const left_out = ["top/picture.png", "top/.git/x.md", "top/._a.txt"];
  const paths = ["top/b.csv", "top/a/z.JSONL", "top/a.txt", "c.md.gz", ...left_out];
  const list = paths.map((path) => fileAt(path, path.endsWith(".gz") ? gzipSync(path) : path));
  const files = await read(list);
  assert.deepEqual(files.map(({ name }) => name), ["c.md.gz", "top/a.txt", "top/a/z.JSONL", "top/b.csv"]);
  for (const { name, text } of files) assert.equal(text, name);
  const iterator = list.values();
  assert.equal((await read({ [Symbol.iterator]: () => iterator })).length, 4);
});

test("a list without a file that can be read says what is read", async () => {
  await assert.rejects(
    read([fileAt("a.png", ""), fileAt("b", "")]),
    failure("bad-data", /^the list of files: none of its 2 files holds data: one of \.jsonl, .*\.xlsx \(.*\.gz\)$/),
  );
  const mixed = () => sendable([fileAt("a.txt", ""), { text: "a row" }], "data");
  assert.throws(mixed, failure("bad-data", "item 2 of the list of files is no File"));
});

/** The paths of the data among some files, and why the others are left out. */
async function chosen(paths) {
  const ignored = [];
  const names = [];
  const { source } = sendable(paths.map((path) => fileAt(path, "{}")), "data");
  for await (const { name } of openSource(source, ignored)) names.push(name);
  return { names, ignored: Object.fromEntries(ignored.map(({ file, reason }) => [file, reason])) };
}

test("what describes a dataset is left out and named", async () => {
  const data = ["set/data.jsonl", "set/guide.md", "set/more/state.jsonl"];
  const descriptions = ["README.md", "LICENSE.txt", "dataset_infos.json", "dataset_info.json", "state.json", "package.json", "sub/readme"];
  const { names, ignored } = await chosen([...descriptions.map((name) => `set/${name}`), "set/.gitattributes", "set/a.png", ...data]);
  assert.deepEqual(names, data);
  assert.equal(ignored["set/README.md"], "describes the data");
  assert.equal(ignored["set/.gitattributes"], "is hidden");
  assert.equal(ignored["set/a.png"], "is no kind of file that is read");
  assert.equal(Object.keys(ignored).length, descriptions.length + 2);

  assert.deepEqual((await chosen(["README.md"])).names, ["README.md"], "nothing else was picked");
  assert.deepEqual((await chosen(["README.md", "a.csv"])).names, ["a.csv"]);
  await assert.rejects(chosen(["set/README.md"]), failure("bad-data", /none of its 1 files holds data/));
});

test("of a folder with splits, training rows are read", async () => {
  for (const [paths, expected] of [
    [["train.jsonl", "test.jsonl", "extra.jsonl"], ["train.jsonl"]],
    [["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/validation-00000-of-00001.parquet"], [
      "data/train-00000-of-00002.parquet",
      "data/train-00001-of-00002.parquet",
    ]],
    [["test/train-times.csv", "train/a.csv", "train/test-questions.csv"], ["train/a.csv", "train/test-questions.csv"]],
    [["chats.jsonl", "chats_dev.jsonl"], ["chats.jsonl"]],
    [["test.jsonl"], ["test.jsonl"]],
    [["contest.csv", "latest.csv"], ["contest.csv", "latest.csv"]],
    [["testing.md", "train schedule.txt", "a.md"], ["a.md", "testing.md", "train schedule.txt"]],
    [["train.txt", "valid.txt"], ["train.txt"]],
  ]) {
    const { names, ignored } = await chosen(paths.map((path) => `train set/${path}`));
    assert.deepEqual(names, expected.map((path) => `train set/${path}`));
    assert.equal(Object.keys(ignored).length, paths.length - expected.length);
  }
  const { ignored } = await chosen(["set/train.csv", "set/test.csv", "set/b.csv"]);
  assert.match(ignored["set/test.csv"], /^is of the split "test": /);
  assert.match(ignored["set/b.csv"], /^belongs to no split: /);
  assert.deepEqual((await chosen(["train.csv", "test.csv"])).names, ["test.csv", "train.csv"], "both were picked");
});

function fileHandle(name, text) {
  return { kind: "file", name, getFile: async () => new File([text], name) };
}

function directoryHandle(name, ...entries) {
  return { kind: "directory", name, async *values() { yield* entries; } };
}

const refusing = {
  kind: "file",
  name: "a.txt",
  getFile: () => Promise.reject(new DOMException("no", "NotAllowedError")),
};

test("handles are opened in the worker", async () => {
  // Fakes cannot be posted, so what the page sends is taken as it is.
  const opened = (handle) => filesOf(sendable(handle, "ignored").source);
  assert.equal((await opened(fileHandle("train.jsonl", "{}")))[0].name, "train.jsonl");
  await assert.rejects(opened(refusing), failure("io", /^a\.txt: NotAllowedError: no$/));

  const nested = directoryHandle("b", fileHandle("2.txt", "two"), directoryHandle("empty"));
  const hidden = directoryHandle(".cache", fileHandle("4.txt", "four"));
  const files = [fileHandle("c.md", "three"), fileHandle("a.csv", "one")];
  const directory = directoryHandle("top", nested, hidden, ...files);
  assert.deepEqual(
    (await opened(directory)).map(({ name, text }) => [name, text]),
    [["top/a.csv", "one"], ["top/b/2.txt", "two"], ["top/c.md", "three"]],
  );
  assert.deepEqual((await opened(directoryHandle("", fileHandle("a.txt", ""))))[0].name, "a.txt");
  await assert.rejects(opened(directoryHandle("top", nested, refusing)), failure("io", /^top\/a\.txt: /));
  await assert.rejects(opened(directoryHandle("top")), failure("bad-data", /^top: none of its 0 files/));
});

test("what is nothing to read is refused", () => {
  for (const source of ["text", 5, null, undefined, {}]) {
    assert.throws(() => sendable(source, "data"), failure("bad-option", /^the data must be a File or Blob/));
  }
});

// ---- streams ---------------------------------------------------------------------------------------

test("a stream of bytes is read through the port", async () => {
  const chunk = Buffer.from("two\n");
  const [file] = await read(streamOf("o", "ne\n", chunk, new Uint8Array()), "a.txt");
  assert.deepEqual(file, { name: "a.txt", size: undefined, format: undefined, loaded: 8, text: "one\ntwo\n" });
  assert.equal(chunk.toString(), "two\n", "the caller's buffer is still there");
  assert.equal(await textOf(streamOf("x".repeat(2.5 * MIB))), "x".repeat(2.5 * MIB));
});

test("a stream that fails, is locked or gives no bytes is an error", async () => {
  const failing = new ReadableStream({ pull: () => Promise.reject(new Error("cut")) });
  await assert.rejects(read(failing, "a.txt"), sourceFailure("a.txt", "Error: cut"));
  const texts = new ReadableStream({ start: (controller) => controller.enqueue("text") });
  await assert.rejects(
    read(texts, "a.txt"),
    failure("bad-data", "a.txt: the stream must give bytes (Uint8Array), but gave a string"),
  );
  const locked = streamOf();
  locked.getReader();
  assert.throws(() => sendable(locked, "a.txt"), failure("bad-option", /^a\.txt: the stream is locked/));
});

test("a stream is pulled only as it is read, and cancelled where reading ends", async () => {
  let [pulled, cancelled] = [0, 0];
  const endless = new ReadableStream(
    {
      pull: (controller) => controller.enqueue(Buffer.alloc(10, (pulled += 1))),
      cancel: () => void (cancelled += 1),
    },
    { highWaterMark: 0 },
  );
  for await (const file of openSource(sent(endless).received)) {
    for await (const { loaded } of file.pieces()) {
      await settle();
      assert.equal(10 * pulled, loaded);
      if (pulled === 3) break;
    }
  }
  await until(() => cancelled > 0);
  assert.deepEqual([pulled, cancelled], [3, 1]);
});

test("closing on the page ends a wait for a stream that is stuck", async () => {
  let cancelled = false;
  const stuck = new ReadableStream({
    pull: () => new Promise(() => {}),
    cancel: () => void (cancelled = true),
  });
  const { received, close } = sent(stuck, "a.txt");
  const reading = filesOf(received);
  await settle();
  close();
  close();
  await assert.rejects(reading, failure("cancelled", "the page has closed the source of the data"));
  assert.ok(cancelled);
});

test("closing before anything was read ends reading too", async () => {
  const { received, close } = sent(streamOf("a"));
  const files = openSource(received);
  const { value: file } = await files.next();
  close();
  await settle();
  await assert.rejects(file.pieces().next(), failure("cancelled", /closed/));
  await files.return();
});

// ---- rows ------------------------------------------------------------------------------------------

test("rows become JSON lines", async () => {
  const ids = new Int32Array([1, -2]);
  const rows = [{ text: "a\n" }, { messages: [], n: 1n, m: 2n ** 60n, at: new Date(0), ids }];
  const plain = [
    { text: "a\n" },
    { messages: [], n: 1, m: "1152921504606846976", at: "1970-01-01T00:00:00.000Z", ids: [1, -2] },
  ];
  async function* slowly() {
    for (const row of rows) {
      await settle();
      yield row;
    }
  }
  for (const source of [rows, new Set(rows), rows.values(), slowly()]) {
    const [file] = await read(source, "rows");
    assert.deepEqual(rowsIn(file.text), plain);
    assert.deepEqual([file.name, file.size, file.format], ["rows", undefined, "rows"]);
    assert.equal(file.loaded, file.text.length);
  }
  assert.equal(await textOf([]), "");
  assert.deepEqual(rowsIn(await textOf([{ text: "é".repeat(MIB) }])), [{ text: "é".repeat(MIB) }]);
});

/** An endless iterator that counts what is asked of it. */
function endless(row) {
  const rows = {
    given: 0,
    returned: 0,
    next() {
      rows.given += 1;
      return { done: false, value: row };
    },
    return() {
      rows.returned += 1;
      return { done: true };
    },
  };
  return rows;
}

for (const symbol of [Symbol.iterator, Symbol.asyncIterator]) {
  test(`rows of a ${symbol.description} are taken batch by batch, and return() is called`, async () => {
    const rows = endless({ text: "x".repeat(1000) });
    const batch = Math.ceil((1 << 18) / 1012);
    for await (const file of openSource(sent({ [symbol]: () => rows }).received)) {
      let batches = 0;
      for await (const { bytes } of file.pieces()) {
        batches += 1;
        await settle();
        assert.equal(rows.given, batch * batches, "no row is taken ahead");
        assert.ok(bytes.length >= 1 << 18 && bytes.length < (1 << 18) + 1012);
        if (batches === 3) break;
      }
    }
    await until(() => rows.returned > 0);
    assert.deepEqual([rows.given, rows.returned], [3 * batch, 1]);
  });

  test(`return() of a ${symbol.description} is called where nothing was read`, async () => {
    const rows = endless({});
    const taken_to_tell = symbol === Symbol.iterator ? 1 : 0;
    for await (const _ of openSource(sent({ [symbol]: () => rows }).received)) break;
    await until(() => rows.returned > 0);
    assert.deepEqual([rows.given, rows.returned], [taken_to_tell, 1]);
    sent({ [symbol]: () => rows }).close();
    assert.equal(rows.returned, 2);
  });
}

test("an iterator that throws ends reading, and return() is not called", async () => {
  let returned = false;
  const rows = {
    given: 0,
    next() {
      if (this.given++ === 2) throw new RangeError("no more");
      return { done: false, value: {} };
    },
    return: () => (returned = true),
  };
  await assert.rejects(
    read({ [Symbol.iterator]: () => rows }, "rows"),
    sourceFailure("rows", "RangeError: no more"),
  );
  assert.equal(returned, false);
  const at_once = { [Symbol.iterator]: () => ({ next: () => assert.fail("at once") }) };
  const thrown = sourceFailure("rows", "AssertionError [ERR_ASSERTION]: at once");
  assert.throws(() => sendable(at_once, "rows"), thrown);
  async function* later() {
    yield {};
    throw new Error("later");
  }
  await assert.rejects(read(later(), "rows"), sourceFailure("rows", "Error: later"));
});

test("rows that are no objects are named by number, and the iterator is closed", async () => {
  const circular = {};
  circular.self = circular;
  for (const [row, problem] of [
    ["text", "must be an object, but is a string"],
    [7, "must be an object, but is a number"],
    [null, "must be an object, but is null"],
    [undefined, "must be an object, but is undefined"],
    [[1], "must be an object, but is a list"],
    [() => {}, "must be an object, but is a function"],
    [new Date(0), "must be an object, but is a Date that is none in JSON"],
  ]) {
    let closed = false;
    const rows = (function* () {
      try {
        yield {};
        yield row;
      } finally {
        closed = true;
      }
    })();
    await assert.rejects(read(rows, "rows"), failure("bad-data", `rows row 2: ${problem}`));
    assert.ok(closed);
  }
  const unwritable = failure("bad-data", /^rows row 1: cannot be written as JSON: .*circular/);
  await assert.rejects(read([circular], "rows"), unwritable);
});

// ---- gzip ------------------------------------------------------------------------------------------

const LINES = Array.from({ length: 20000 }, (_, number) => `{"text": "line ${number}"}\n`).join("");

test("gzip is told by its first bytes, in files and in streams", async () => {
  const packed = gzipSync(LINES);
  const [file] = await read(new Blob([packed]), "train.jsonl");
  assert.deepEqual([file.size, file.loaded, file.format], [packed.length, packed.length, undefined]);
  assert.equal(file.text, LINES);
  assert.equal(await textOf(streamOf(packed.subarray(0, 1), packed.subarray(1))), LINES);
  assert.equal(await textOf(new Blob([gzipSync("")])), "");
});

test("gzip that is cut off or damaged is an error that names the file", async () => {
  const packed = gzipSync(LINES);
  const damaged = Buffer.from(packed).fill(0xaa, 20000, 20064);
  const spoilt = failure("bad-data", /^train\.jsonl\.gz: its gzip data are damaged, cut off, or several .+ \(.+\)$/);
  for (const bytes of [packed.subarray(0, -9), packed.subarray(0, 2000), packed.subarray(0, 5), damaged]) {
    await assert.rejects(read(new Blob([bytes]), "train.jsonl.gz"), spoilt);
    await assert.rejects(read(streamOf(bytes), "train.jsonl.gz"), spoilt);
  }
});

test("an error of the source is told through gzip as it is", async () => {
  const packed = gzipSync(LINES);
  let pulls = 0;
  const failing = new ReadableStream({
    pull(controller) {
      if (pulls++ > 0) throw new Error("cut");
      controller.enqueue(packed.subarray(0, 1000));
    },
  });
  await assert.rejects(read(failing, "a.gz"), sourceFailure("a.gz", "Error: cut"));
});

test("a stream of gzip is cancelled where reading ends", async () => {
  let cancelled = false;
  const noise = gzipSync(Buffer.alloc(MIB, LINES), { level: 0 });
  let at = 0;
  const stream = new ReadableStream({
    pull: (controller) => controller.enqueue(noise.subarray(at, (at += 1000))),
    cancel: () => void (cancelled = true),
  });
  for await (const file of openSource(sent(stream).received)) {
    for await (const _ of file.pieces()) break;
  }
  await until(() => cancelled);
  assert.ok(cancelled && at < noise.length / 2, `read ${at} of ${noise.length} bytes`);
});

// ---- Parquet ---------------------------------------------------------------------------------------

const fixture = async (name) =>
  new Blob([await readFile(new URL(`../fixtures/parquet/${name}.parquet`, import.meta.url))]);

const completions = (count) =>
  Array.from({ length: count }, (_, n) => ({ prompt: `question ${n}`, completion: `answer ${n}` }));

const CONVERSATIONS = [
  [{ role: "user", content: "Hi" }, { role: "assistant", content: "Hello, 世界" }],
  [],
  null,
  [{ role: "user", content: null }],
];

test("Parquet is read with every codec", async () => {
  for (const codec of ["plain", "snappy", "zstd", "gzip", "brotli", "lz4"]) {
    const blob = await fixture(codec);
    // The magic bytes tell it, not the name.
    const [file] = await read(blob, "rows");
    assert.deepEqual([file.size, file.loaded, file.format], [blob.size, blob.size, "rows"]);
    assert.deepEqual(rowsIn(file.text), completions(5), codec);
  }
});

test("nested Parquet columns keep their shape", async () => {
  // A list that is null is null as a column, and left out of a struct.
  const metas = [{ tags: ["a", "b"], score: 0.5 }, null, { tags: [], score: null }, { score: null }];
  const expected = CONVERSATIONS.map((messages, at) => ({ messages, meta: metas[at] }));
  assert.deepEqual(rowsIn(await textOf(await fixture("nested"))), expected);
});

test("Parquet types become what JSON has", async () => {
  const none = { float: null, day: null, time: null, bytes: null };
  assert.deepEqual(rowsIn(await textOf(await fixture("types"))), [
    {
      small: 1,
      large: 2 ** 53 - 1,
      unsigned: "18446744073709551615",
      float: 1.5,
      flag: true,
      day: "2024-02-29T00:00:00.000Z",
      time: "2024-02-29T12:30:00.000Z",
      bytes: [1, 2],
    },
    { small: -2, large: "9007199254740992", unsigned: 0, ...none, flag: false },
    { small: null, large: "-9223372036854775808", unsigned: 1, ...none, flag: null },
  ]);
});

/** A Blob that notes which of its ranges are read. */
function watched(blob) {
  const ranges = [];
  const slice = (start, end) => {
    ranges.push([start, end]);
    return blob.slice(start, end);
  };
  return { size: blob.size, slice, ranges };
}

/** The rows of each piece. */
async function portionsOf(blob, portion_bytes) {
  const portions = [];
  for await (const { bytes } of parquetPieces("rows.parquet", blob, { portion_bytes })) {
    portions.push(rowsIn(Buffer.from(bytes).toString()));
  }
  return portions;
}

test("row groups are read one after another", async () => {
  const blob = watched(await fixture("groups"));
  const pieces = parquetPieces("rows.parquet", blob, { portion_bytes: 1 });
  assert.equal(rowsIn(Buffer.from((await pieces.next()).value.bytes).toString()).length, 4);
  const [, ...read] = blob.ranges;
  const bytes = read.reduce((sum, [start, end]) => sum + end - start, 0);
  assert.ok(bytes < blob.size / 3, `${bytes} bytes for the first of three row groups`);
  await pieces.return();

  const portions = await portionsOf(await fixture("groups"));
  assert.deepEqual(portions.map((rows) => rows.length), [4, 4, 2]);
  assert.deepEqual(portions.flat(), completions(10));
});

test("a row group with an offset index is read in portions", async () => {
  const expected = Array.from({ length: 40 }, (_, n) => ({ n, messages: CONVERSATIONS[n % 4] }));
  for (const bytes of [1, 100, 300, 1000, undefined]) {
    const portions = await portionsOf(await fixture("paged"), bytes);
    assert.deepEqual(portions.flat(), expected, `${bytes} bytes`);
    if (bytes === 1) assert.equal(portions.length, 40);
    if (bytes === 1000) assert.ok(portions.length > 1 && portions.length < 10, `${portions.length} portions`);
    if (bytes === undefined) assert.equal(portions.length, 1);
  }
});

test("columns of pictures and sound are not read from Parquet", async () => {
  const blob = watched(await fixture("pictures"));
  const rows = async (options) => {
    const lines = [];
    for await (const { bytes } of parquetPieces("rows.parquet", blob, options)) lines.push(Buffer.from(bytes));
    return rowsIn(Buffer.concat(lines).toString());
  };
  const messages = [{ role: "user", content: "Hi" }];
  assert.deepEqual(await rows(), [{ text: "alpha beta", note: "short", messages }, { text: "gamma", note: null, messages: null }]);
  const [named] = await rows({ columns: ["sound"] });
  assert.deepEqual([Object.keys(named), named.sound.length], [["text", "note", "sound", "messages"], 100_000]);
});

test("Parquet that is damaged, or out of reach, is refused by name", async () => {
  const blob = await fixture("snappy");
  const bytes = Buffer.from(await blob.arrayBuffer());
  const unreadable = failure("bad-data", /^a\.parquet: the Parquet file cannot be read: /);
  await assert.rejects(read(blob.slice(0, 300), "a.parquet"), unreadable);
  await assert.rejects(read(new Blob(["PAR1"]), "a.parquet"), unreadable);
  await assert.rejects(read(new Blob([Buffer.from(bytes).fill(0xff, 4, 200)]), "a.parquet"), unreadable);
  const access = "Parquet cannot be read out of gzip or a stream, only as a file of its own";
  const packed = new Blob([gzipSync(bytes)]);
  await assert.rejects(read(packed, "a.parquet.gz"), failure("bad-data", `a.parquet.gz: ${access}`));
  await assert.rejects(read(streamOf(bytes), "a"), failure("bad-data", `a: ${access}`));
  const other = failure("bad-data", "a.parquet: is no Parquet file, or a damaged one");
  await assert.rejects(read(new Blob(["text"]), "a.parquet"), other);
});

// ---- workbooks -------------------------------------------------------------------------------------

const SPREADSHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
const RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";

/** An Excel workbook with one sheet of these rows in XML, and what else is given for its parts. */
function workbook(rows, { sheets = '<sheet name="A" sheetId="1" r:id="r1"/>', strings = "", properties = "", parts = {} } = {}) {
  const xml = {
    "xl/workbook.xml": `<workbook xmlns="${SPREADSHEET}" xmlns:r="${RELATIONS}"><workbookPr${properties}/><sheets>${sheets}</sheets></workbook>`,
    "xl/_rels/workbook.xml.rels": `<Relationships>
      <Relationship Id="r1" Type="${RELATIONS}/worksheet" Target="worksheets/sheet1.xml"/>
      <Relationship Id="r2" Type="${RELATIONS}/worksheet" Target="/xl/worksheets/sheet2.xml"/>
      <Relationship Id="r3" Type="${RELATIONS}/sharedStrings" Target="sharedStrings.xml"/>
      <Relationship Id="r4" Type="${RELATIONS}/styles" Target="styles.xml"/></Relationships>`,
    "xl/sharedStrings.xml": `<sst xmlns="${SPREADSHEET}">${strings}</sst>`,
    "xl/styles.xml": `<styleSheet><numFmts><numFmt numFmtId="164" formatCode="dd\\.mm\\.yyyy"/><numFmt numFmtId="165" formatCode="[Red]0 &quot;days&quot;"/></numFmts>
      <cellStyleXfs><xf numFmtId="14"/></cellStyleXfs><cellXfs><xf numFmtId="0"/><xf numFmtId="22"/><xf numFmtId="164"/><xf numFmtId="165"/></cellXfs></styleSheet>`,
    "xl/worksheets/sheet1.xml": `<worksheet><sheetData>${rows}</sheetData></worksheet>`,
    ...parts,
  };
  return new Blob([zipSync(Object.fromEntries(Object.entries(xml).map(([name, text]) => [name, strToU8(text)])))]);
}

test("the first sheet of a workbook that is shown is CSV, a record for each row", async () => {
  const strings = "<si><t>When &amp; &#x201C;how&#x201D;?</t></si><si><r><t xml:space=\"preserve\">From </t></r><r><t>ten._x000D_</t></r><rPh><t>x</t></rPh></si>";
  const rows = `<row r="1"><c r="A1" t="inlineStr"><is><t>a</t></is></c><c r="B1" t="str"><v>b</v></c></row>
    <row r="3"><c r="A3" t="s"><v>0</v></c><c r="B3" t="s"><v>1</v></c></row>
    <row><c><v>1.50</v></c><c r="D4" t="b"><v>1</v></c><c t="e"><v>#N/A</v></c></row>
    <row r="5"><c s="2"><v>45303</v></c><c s="1"><v>45303.5</v></c><c s="3"><v>7</v></c><c s="2"/></row>`;
  const sheets = '<sheet name="H" state="hidden" r:id="r2"/><sheet name="A" r:id="r1"/><sheet name="B" r:id="r2"/>';
  const ignored = [];
  const { received } = sent(workbook(rows, { sheets, strings }), "faq.xlsx");
  for await (const { format, pieces } of openSource(received, ignored)) {
    assert.equal(format, "sheet");
    const parts = [];
    for await (const { bytes } of pieces()) parts.push(Buffer.from(bytes));
    assert.equal(Buffer.concat(parts).toString(), [
      '"a","b"',
      '""',
      '"When & “how”?","From ten.\r"',
      '"1.5","","","TRUE","#N/A"',
      '"2024-01-12","2024-01-12 12:00:00","7",""',
      "",
    ].join("\n"));
  }
  assert.deepEqual(ignored.map(({ file }) => file), ['faq.xlsx, sheet "B"']);
  const since_1904 = workbook('<row><c s="2"><v>43841</v></c></row>', { properties: ' date1904="1"' });
  assert.equal(await textOf(since_1904, "a.xlsx"), '"2024-01-12"\n');
});

test("a zip file that is no workbook, or a damaged one, is refused in plain words", async () => {
  const zip = (...names) => new Blob([zipSync(Object.fromEntries(names.map((name) => [name, strToU8("<a/>")])))]);
  for (const [blob, message] of [
    [zip("word/document.xml"), "a.xlsx: the file is a Word document: save it as plain text"],
    [zip("rows.jsonl"), "a.xlsx: the file is a zip file: unpack it and choose the files in it"],
    [zip("mimetype", "content.xml"), /^a\.xlsx: the file is an OpenDocument file: save a sheet as CSV UTF-8/],
    [new Blob([Buffer.from("504b0304140000000800ffff", "hex")]), /^a\.xlsx: the Excel workbook cannot be read; save its sheet as CSV UTF-8 \(/],
    [workbook("<row r=\"1\"><c>"), /^a\.xlsx: the Excel workbook cannot be read/],
    [workbook('<row r="9999999"/>'), /^a\.xlsx: the Excel workbook cannot be read/],
    [workbook('<row><c r="XFD1"/></row>'.repeat(3100).replaceAll("XFD1", "XFD")), /^a\.xlsx: .*save its sheet as CSV UTF-8 .*3052 rows span \d+ cells: clear those far to the right/],
    [workbook("", { sheets: "" }), "a.xlsx: the workbook has no sheet that is shown"],
    [workbook("", { parts: { "xl/worksheets/sheet1.xml": " ".repeat(257 << 20) } }), /^a\.xlsx: the workbook is too large/],
  ]) {
    await assert.rejects(read(blob, "a.xlsx"), failure("bad-data", message));
  }
});
