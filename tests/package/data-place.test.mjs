// How a person's own rows are read, mended and kept before they are imported, as far as it needs no browser.
import assert from "node:assert/strict";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { studio } from "./page-modules.mjs";
import { playPage } from "./played-page.mjs";

/** localStorage that is empty at first. */
function playStorage() {
  const names = {};
  const storage = { getItem: (name) => names[name] ?? null, setItem: (name, value) => (names[name] = value), removeItem: (name) => delete names[name] };
  Object.defineProperty(globalThis, "localStorage", { value: storage, configurable: true, writable: true });
  return names;
}

test("a table from a spreadsheet has its cells, whatever is in them", async () => {
  const { tableOf } = await studio("data/clipboard.ts");
  assert.deepEqual(tableOf("a\tb\r\nc\td\r\n"), [["a", "b"], ["c", "d"]]);
  assert.deepEqual(tableOf('When?\t"At nine.\nOr ""ten""."\nWhere?\tHere.'), [["When?", 'At nine.\nOr "ten".'], ["Where?", "Here."]]);
  assert.deepEqual(tableOf('a 5" pipe\t"quoted" and more\nx\t"never closed\ny\tz'), [['a 5" pipe', '"quoted" and more'], ["x", '"never closed'], ["y", "z"]], "marks of the text stay in it");
  assert.deepEqual(tableOf("a\t\t\nb\tc\t\n\t\t\n"), [["a", ""], ["b", "c"]], "columns and rows of nothing are none");
  const hostile = '<img src=x onerror="alert(1)">\t=HYPERLINK("http://evil.example")\t__proto__';
  assert.deepEqual(tableOf(hostile), [['<img src=x onerror="alert(1)">', '=HYPERLINK("http://evil.example")', "__proto__"]], "as text");
  assert.equal(tableOf("Well, this is prose, with commas.\nIt has lines; and marks | too."), undefined);
  assert.equal(tableOf("one word"), undefined);
  assert.equal(tableOf(""), undefined);
  assert.equal(tableOf("\t\n\t"), undefined);
});

test("lines of CSV and JSON are tables too", async () => {
  const { tableOf, isHeader } = await studio("data/clipboard.ts");
  assert.deepEqual(tableOf('Frage;Antwort\nWo?;"Hier; dort."'), [["Frage", "Antwort"], ["Wo?", "Hier; dort."]]);
  assert.deepEqual(tableOf('"a, b",c\nd,e'), [["a, b", "c"], ["d", "e"]]);
  assert.equal(tableOf("a,b\nc"), undefined, "lines of unlike lengths are prose");
  assert.deepEqual(tableOf('{"question":"a","answer":"b"}\n{"answer":"d","question":"c"},\n'), [["a", "b"], ["c", "d"]]);
  assert.deepEqual(tableOf('[{"prompt":"a","chosen":"b","rejected":"c"}]'), [["a", "b", "c"]]);
  assert.deepEqual(tableOf('{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}'), [["a", "b"]]);
  assert.deepEqual(tableOf('[{"Frage":"a","Antwort":7}]'), [["a", "7"]], "names that nobody knows are taken in their order");
  assert.equal(tableOf('{"messages":[{"role":"user","content":"a"}]}'), undefined, "a chat of other turns is no row of a grid");
  assert.equal(tableOf('{"text":\n'), undefined);
  assert.equal(tableOf("[1,2"), undefined);
  assert.deepEqual([["Question", "Answer"], ["FRAGE", " Antwort "], ["better answer", "worse-answer"], ["Frage", "Wo?"], ["", ""]].map(isHeader), [true, true, true, false, false]);
});

test("reading a hostile table takes no longer than its length", async () => {
  const { tableOf } = await studio("data/clipboard.ts");
  // Time of the processor, whatever else it does meanwhile.
  const begun = process.cpuUsage();
  for (const piece of ['"\t', '""\t', '"a\n', '"""x\t"\n', '"a"b\t']) tableOf(piece.repeat(200_000));
  tableOf("{".repeat(400_000));
  tableOf(`[${'{"a":'.repeat(5000)}`);
  const wide = tableOf(`${"a\t".repeat(100_000)}\n`.repeat(3));
  assert.ok(wide.length === 3 && wide[0].length <= 50);
  assert.ok(tableOf("a\tb\n".repeat(5000)).length === 2000);
  assert.equal(tableOf("a\t".repeat(3_000_000)), undefined, "what is that large is a file");
  const { user, system } = process.cpuUsage(begun);
  assert.ok(user + system < 5e6, `${(user + system) / 1000} ms`);
});

test("cells are written so that they are read as they were", async () => {
  const { readRecord, writeRecord } = await studio("data/records.ts");
  for (const delimiter of [",", ";", "\t"]) {
    for (const cells of [["a", "b"], ["", ""], ['say "so"', "x,y;z\tw"], ["two\nlines", '"'], ['""', "\r\n"]]) {
      assert.deepEqual(readRecord(writeRecord(cells, delimiter), delimiter).cells, cells);
    }
  }
  assert.deepEqual(readRecord('a,"b\nc', ","), { cells: ["a", '"b'], end: 5, is_open: true });
});

test("the grid has an empty row at its end, and takes back pastes and deletions", async () => {
  const { GridRows, gridOf, MOST_ROWS } = await studio("data/grid-rows.ts");
  const grid = new GridRows();
  const cells = () => grid.rows.value.map((row) => row.cells.slice(0, 2));
  grid.write(grid.rows.value[0].key, 0, "When?");
  assert.deepEqual(cells(), [["When?", ""], ["", ""]]);
  assert.deepEqual([grid.filled.value.length, grid.finished.value.length], [1, 0]);
  grid.write(grid.rows.value[0].key, 1, " At nine. ");
  assert.deepEqual(grid.toRows(), [{ question: "When?", answer: "At nine." }]);

  const first = grid.rows.value[0].key;
  const pasted = grid.paste(grid.rows.value[1].key, 0, [["Frage", "Antwort"], ["Wo?", "Hier."], ["Wer?", "Ich."]]);
  assert.deepEqual(pasted, { taken: 2, had_header: true });
  assert.deepEqual(cells(), [["When?", " At nine. "], ["Wo?", "Hier."], ["Wer?", "Ich."], ["", ""]]);
  assert.equal(grid.rows.value[0].key, first, "a row that stays is the same");
  grid.paste(grid.rows.value[2].key, 1, [["Du."]]);
  grid.remove(first);
  assert.deepEqual(cells(), [["Wo?", "Hier."], ["Wer?", "Du."], ["", ""]]);
  for (let undone = 0; undone < 3; undone++) grid.undo();
  assert.deepEqual(cells(), [["When?", " At nine. "], ["", ""]]);
  assert.equal(grid.can_undo.value, false);

  grid.kind.value = "picks";
  assert.equal(grid.finished.value.length, 0, "a row without a worse answer is not finished");
  grid.write(first, 2, "Never.");
  assert.deepEqual(grid.toRows(), [{ prompt: "When?", chosen: "At nine.", rejected: "Never." }]);
  assert.equal(grid.paste(first, 0, Array.from({ length: MOST_ROWS + 5 }, () => ["a", "b", "c"])).taken, MOST_ROWS);
  assert.equal(grid.rows.value.length, MOST_ROWS);

  const user = (content) => ({ role: "user", content });
  const assistant = (content) => ({ role: "assistant", content });
  assert.deepEqual(gridOf([{ prompt: [user("a")], completion: [assistant("b")], pair: true }, { messages: [user("c"), assistant("d")] }]), { kind: "pairs", cells: [["a", "b"], ["c", "d"]] });
  assert.deepEqual(gridOf([{ prompt: [user("a")], chosen: [assistant("b")], rejected: [assistant("c")] }]), { kind: "picks", cells: [["a", "b", "c"]] });
  assert.deepEqual(gridOf([{ text: "a" }]), { kind: "texts", cells: [["a"]] });
  for (const row of [{ prompt: "a", completion: "b" }, { messages: [user("a")] }, { prompt: [user("a")], completion: [assistant("b")], label: true }]) assert.equal(gridOf([row]), undefined);
  assert.equal(gridOf([{ text: "a" }, { messages: [user("c"), assistant("d")] }]), undefined);
});

test("columns are what the person says, and nothing begins before they have said enough", async () => {
  const { columnsOf, rolesFound, unsaidOf, unwantedIn, withRole } = await studio("data/roles.ts");
  assert.equal(unsaidOf({}), "Say which column is the question and which is the answer.");
  let roles = withRole({}, "Frage", "question");
  assert.equal(unsaidOf(roles), "Say which column is the answer.");
  roles = withRole(roles, "Antwort", "answer");
  assert.equal(unsaidOf(roles), undefined);
  assert.deepEqual(columnsOf(roles), [{ prompt: "Frage", completion: "Antwort" }]);
  assert.deepEqual(withRole(roles, "Thema", "answer"), { Frage: "question", Thema: "answer" }, "a role is that of one column");
  assert.deepEqual(withRole(roles, "Antwort", undefined), { Frage: "question" });
  assert.match(unsaidOf(withRole(roles, "Thema", "text")), /^These do not go together/);
  assert.equal(unsaidOf({ a: "worse" }), "Say which column is the better answer.");
  assert.equal(unsaidOf({ a: "instruction" }), "Say which column is the question and which column is the answer.");
  assert.deepEqual(columnsOf({ c: "chat" }), [{ messages: "c" }, { conversations: "c" }]);
  const found = rolesFound({ mapping: { shape: "alpaca", columns: { instruction: "q", output: "a", input: "context" } } });
  assert.deepEqual(found, { q: "question", a: "answer", context: "more" });
  assert.deepEqual(unwantedIn({ q: "question", a: "answer" }, found), ["more"]);
  const [{ input }] = columnsOf({ q: "question", a: "answer" }, ["more"]);
  assert.ok(input !== "context" && input.startsWith("\0"), "a part that is not wanted is read from nowhere");
  assert.deepEqual(rolesFound({ mapping: null }), {});
});

test("cells stand in their rows, though only the bad ones tell their places", async () => {
  const { inPlaces, emptyIn } = await studio("data/cells.ts");
  const said = (content) => ({ completion: [{ role: "assistant", content }] });
  const rows = [said("a"), said(""), { completion: [{}, {}] }];
  const bad_rows = [{ place: 3, reason: 'not JSON: expected `:` at column 6' }, { place: 9, reason: 'a row needs "messages"' }, { place: 12, reason: '"x" must be a string, but is a list' }];
  const cells = inPlaces({ rows, bad_rows }, [2, 3, 5, 8, 9, 12]);
  assert.deepEqual(cells, [{ text: "a" }, { instead: "not readable" }, { text: "" }, { instead: "a chat of 2 turns" }, { instead: "empty" }, { instead: "a list" }]);
  assert.equal(emptyIn({ name: "x", cells }), 2);
});

test("a file is mended without being read as a whole, and its other lines stay as they are", async () => {
  const { asLines, delimiterOf, headerOf, mendedFile, originalPlace, rowAt } = await studio("data/mended.ts");
  const lines = new File(['{"text":"a"}\n{"text":\n\n{"text":"ü"}\n{"text"'], "a.jsonl");
  assert.deepEqual(await rowAt(lines, 2), { text: '{"text":', lines: 1 });
  assert.deepEqual(await rowAt(lines, 5), { text: '{"text"', lines: 1 });
  const mends = [{ place: 5, lines: 1, text: '{"text":"e"}' }, { place: 2, lines: 1, text: null }];
  const mended = await mendedFile(lines, mends);
  assert.equal(await mended.text(), '{"text":"a"}\n\n\n{"text":"ü"}\n{"text":"e"}\n');
  assert.equal(mended.name, "a.jsonl");

  const table = new File(['\ufeffq;a\nx;"two\nlines"\ny;one; too many\nz;"open\nlast;row\n'], "a.csv");
  const delimiter = await delimiterOf(table, ["q", "a"], true);
  assert.equal(delimiter, ";");
  assert.deepEqual(await headerOf(table, delimiter), { header: "q;a\n", names: ["q", "a"] });
  assert.equal(await delimiterOf(table, [], true), ";");
  assert.deepEqual(await rowAt(table, 2, delimiter), { text: 'x;"two\nlines"', lines: 2, cells: ["x", "two\nlines"] });
  assert.deepEqual(await rowAt(table, 4, delimiter), { text: "y;one; too many", lines: 1, cells: ["y", "one", " too many"] });
  assert.deepEqual(await rowAt(table, 5, delimiter), { text: 'z;"open', lines: 1, cells: ["z", '"open'] }, "an open quotation mark does not take in what follows");
  const longer = [{ place: 2, lines: 2, text: "x;one" }, { place: 4, lines: 1, text: 'y;"three\nlines\nof it"' }];
  assert.equal(await (await mendedFile(table, longer)).text(), 'q;a\nx;one\n\ny;"three\nlines\nof it"\nz;"open\nlast;row\n');
  assert.deepEqual([2, 4, 7, 8].map((place) => originalPlace(place, longer)), [2, 4, 5, 6]);
  assert.equal(await delimiterOf(new File(["sep=|\nq|a\n"], "a.csv"), ["q", "a"], true), "|");
  assert.equal(await delimiterOf(new File(["x\ty\n"], "a.tsv"), ["0", "1"], false), "\t");

  const western = new File([Buffer.from("q;a\nM\xfchle;x\n", "latin1")], "a.csv");
  assert.equal(await (await asLines(western, "csv", "windows-1252")).text(), "q;a\nMühle;x\n");
  const packed = await asLines(new File([gzipSync("a\nb\n")], "a.jsonl.gz"), "jsonl", "utf-8");
  assert.deepEqual([packed.name, await packed.text()], ["a.jsonl", "a\nb\n"]);
  assert.equal(await (await asLines(new File(['[{"a":1},\n 2]'], "a.json"), "json", "utf-8")).text(), '{"a":1}\n2\n');
  assert.equal(await asLines(lines, "jsonl", "utf-8"), lines, "a file of lines is not read");
  await assert.rejects(asLines(new File(["[1,"], "a.json"), "json", "utf-8"), /mended as a whole/);
  const bomb = new File([gzipSync(Buffer.alloc(65e6))], "a.jsonl.gz");
  await assert.rejects(asLines(bomb, "jsonl", "utf-8"), /too large/);
});

test("why a row cannot be used is said in plain words, and where it cannot be mended", async () => {
  const { Mending, reasonWords, brokenRowIn, badRowIn } = await studio("data/mending.ts", "data/found.ts");
  assert.match(reasonWords("5 fields, where the header has 4"), /^It has 5 cells where the table has 4 columns\./);
  assert.match(reasonWords('a row needs "text", but has "q"; name the columns that stand for these'), /only "q"\.$/);
  assert.equal(reasonWords("messages[0] has no \"content\""), "messages[0] has no \"content\"");
  assert.deepEqual(brokenRowIn({ file: "a.csv", problem: "line 4: a quote in this record is never closed" }), [{ file: "a.csv", unit: "line", place: 4, reason: "a quote in this record is never closed" }]);
  assert.deepEqual(brokenRowIn({ file: "a.csv", problem: "a row needs" }), []);
  assert.equal(badRowIn(new Error("a.csv line 2: x")), undefined);

  const mending = new Mending();
  assert.match(mending.sealed, /^Of several files/);
  const read = (format, notices = []) => mending.follow({ file: new File(["x"], "a"), options: {}, inspection: { format, notices, columns: [] } });
  read("rows");
  assert.match(mending.sealed, /^A Parquet file cannot be changed here/);
  read("jsonl");
  assert.equal(mending.sealed, undefined);
  read("csv", [{ code: "encoding" }]);
  assert.match(mending.sealed, /letters/);
  const bad = (place, file = "a") => ({ file, unit: "line", place, reason: "x" });
  read("jsonl");
  mending.show([bad(7), bad(2)]);
  mending.add([bad(2), bad(9)], true);
  assert.deepEqual([mending.items.value.map(({ row }) => row.place), mending.has_more.value], [[2, 7, 9], true]);
  mending.show([]);
  assert.deepEqual(mending.items.value, []);
});

test("a large file is mended by its parts", async () => {
  const { mendedFile, rowAt } = await studio("data/mended.ts");
  const line = `{"text":"${"x".repeat(90)}"}\n`;
  const file = new File([line.repeat(200_000), "{broken\n", line.repeat(200_000)], "large.jsonl");
  const found = await rowAt(file, 200_001);
  assert.equal(found.text, "{broken");
  const mended = await mendedFile(file, [{ place: 200_001, lines: 1, text: '{"text":"mended"}' }]);
  assert.equal(mended.size, file.size - 8 + 18);
  const around = mended.slice(200_000 * line.length - 3, 200_000 * line.length + 20);
  assert.equal(await around.text(), '"}\n{"text":"mended"}\n{"');
});

test("a kept row is given so that it is kept again", async () => {
  const { givenOf } = await studio("data/given.ts");
  const turn = (role, content) => ({ role, content });
  const chat = { messages: [turn("user", "a"), turn("assistant", "b")] };
  assert.deepEqual(givenOf(chat), chat);
  const pair = { prompt: [turn("system", "s"), turn("user", "a"), turn("assistant", "b"), turn("user", "c")], completion: [turn("assistant", "d")], pair: true };
  assert.deepEqual(givenOf(pair), { system: "s", history: pair.prompt.slice(1, 3), instruction: "c", output: "d" });
  assert.equal(givenOf({ ...pair, label: true }), undefined);
});

test("what a row says can be changed word by word", async () => {
  const { sayingsOf, withWords } = await studio("data/saying.ts");
  const row = { completion: [{ role: "assistant", content: "b" }], prompt: [{ role: "system", content: "s" }, { role: "user", content: "a" }], pair: true };
  assert.deepEqual(sayingsOf(row).map(({ who, side, text }) => [who, side, text]), [["Instruction", "neither", "s"], ["Question", "asking", "a"], ["Answer", "answering", "b"]]);
  const changed = withWords(row, sayingsOf(row)[2].path, "c");
  assert.deepEqual([changed.completion[0].content, row.completion[0].content], ["c", "b"]);
  assert.deepEqual(sayingsOf({ prompt: "a", chosen: "b", rejected: "c" }).map(({ who }) => who), ["Question", "Better answer", "Worse answer"]);
  assert.deepEqual(sayingsOf({ text: 7, label: false }).map(({ text, path }) => [text, path]), [["7", []], ["bad", []]]);
});

test("a draft stays over a reload, and one of a later version is left alone", async () => {
  const names = playStorage();
  const { Draft } = await studio("data/draft.ts");
  const draft = new Draft("a", 1, (value) => typeof value.text === "string");
  assert.equal(draft.get(), undefined);
  assert.ok(draft.set({ text: "x" }));
  assert.deepEqual(new Draft("a", 1, () => true).get(), { text: "x" });
  for (const broken of ["{", "null", "7", '{"version":1}', '{"version":1,"value":{"text":7}}']) {
    names["tabtune:draft:a"] = broken;
    assert.equal(draft.get(), undefined, broken);
  }
  assert.equal(draft.set({ text: "x".repeat(1_100_000) }), false, "what is too long is not kept");
  assert.equal("tabtune:draft:a" in names, false);
  names["tabtune:draft:a"] = '{"version":2,"value":{"other":true}}';
  assert.equal(draft.get(), undefined);
  assert.equal(draft.set({ text: "y" }), false);
  draft.forget();
  assert.equal(names["tabtune:draft:a"], '{"version":2,"value":{"other":true}}');
  delete globalThis.localStorage;
});

test("what was typed comes back, and becomes a dataset once", async () => {
  playPage();
  const leaving = [];
  globalThis.addEventListener = (kind, listener) => kind === "pagehide" && leaving.push(listener);
  const names = playStorage();
  const kept = {};
  const imports = [];
  const open = async (name) => ({
    name,
    info: async () => ({ rows: kept[name]?.length ?? 0 }),
    import: async (rows, { file_name }) => {
      imports.push([name, file_name]);
      kept[name] = rows;
    },
  });
  globalThis.played = { Dataset: { open, list: async () => Object.keys(kept).map((name) => ({ name })) } };
  const { TypedRows, TYPED, MissingInput } = await studio("data/typed.ts", "data/origins.ts", "ui/missing.ts");
  let told = 0;
  const typed = new TypedRows();
  typed.begin(() => told++);
  const { signal } = new AbortController();
  await assert.rejects(typed.read(signal), (thrown) => thrown instanceof MissingInput && /at least one question/.test(thrown.message));
  typed.grid.paste(typed.grid.rows.value[0].key, 0, [["When?", "At nine."], ["unfinished", ""]]);
  assert.equal(typed.missing, undefined);
  await typed.read(signal);
  await typed.read(signal);
  assert.deepEqual([imports, kept["My rows"]], [[["My rows", TYPED]], [{ question: "When?", answer: "At nine." }]]);
  assert.equal(typed.is_unkept, false);
  typed.grid.write(typed.grid.rows.value[1].key, 1, "now finished");
  assert.ok(typed.is_unkept);
  for (const leave of leaving) leave();

  const again = new TypedRows();
  again.begin(() => {});
  assert.deepEqual(again.grid.filled.value.map(({ cells }) => cells.slice(0, 2)), [["When?", "At nine."], ["unfinished", "now finished"]]);
  globalThis.confirm = () => assert.fail("what is typed takes the place of itself without a question");
  await again.read(signal);
  assert.equal(kept["My rows"].length, 2);
  await again.clear();
  assert.equal(again.name.value, "My rows 2");

  kept.other = [{}, {}];
  again.grid.write(again.grid.rows.value[0].key, 0, "a");
  again.grid.write(again.grid.rows.value[0].key, 1, "b");
  again.name.value = "other";
  let asked;
  globalThis.confirm = (question) => ((asked = question), false);
  await assert.rejects(again.read(signal), MissingInput);
  assert.match(asked, /Takes the place of 2 rows/);
  assert.equal(kept.other.length, 2, "others are not replaced unasked");
  assert.ok(told > 0 && "tabtune:draft:typed" in names);
  for (const name of ["confirm", "localStorage"]) delete globalThis[name];
});
