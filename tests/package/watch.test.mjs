// What watches a run, without a browser.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { paths } from "../../tools/lib/paths.mjs";
import { playPage } from "./played-page.mjs";
import { studio } from "./page-modules.mjs";

const close = (found, wanted) => found.forEach((value, place) => (wanted[place] === null ? assert.equal(value, null) : assert.ok(Math.abs(value - wanted[place]) < 1e-12, `${found} against ${wanted}`)));

/** What a step tells; its tokens and seconds are those of its number. */
const stepped = (step, more = {}) => ({ step, loss: 1 / step, grad_norm: 2, learning_rate: 0.01, num_tokens: 100 * step, tokens_per_second: 50, peak_gpu_bytes: 7, step_millis: 500, total_steps: 100, ...more });

test("smoothing is a moving average whose first values count in full", async () => {
  const { smoothed } = await studio("watch/smooth.ts");
  // By hand, with a weight of 1/2: 4; (4/4 + 2/2) / (3/4); (4/8 + 2/4 + 8/2) / (7/8).
  close(smoothed([4, 2, 8], 0.5), [4, 8 / 3, 40 / 7]);
  close(smoothed([null, 4, null, 2], 0.5), [null, 4, null, 8 / 3]);
  close(smoothed([3, 3, 3], 0.98), [3, 3, 3]);
  assert.deepEqual(smoothed([5, 1, 2], 0), [5, 1, 2], "a weight of nothing changes nothing");
});

test("a log keeps what steps tell, goes back with the run, and has measurements at their steps", async () => {
  const { RunLog } = await studio("watch/run-log.ts");
  const log = new RunLog(100);
  log.addHeldout(0, 6);
  for (const step of [1, 2, 3]) log.add(stepped(step));
  log.addHeldout(3, 5);
  assert.deepEqual([log.steps, log.across("seconds"), log.across("tokens")], [[0, 1, 2, 3], [0, 0.5, 1, 1.5], [0, 100, 200, 300]]);
  assert.deepEqual([log.column("loss"), log.column("heldout")], [[null, 1, 0.5, 1 / 3], [6, null, null, 5]]);

  log.add(stepped(4, { loss: NaN, grad_norm: NaN, skipped: true }));
  assert.deepEqual([log.column("loss")[4], log.column("learning_rate")[4], log.column("tokens")[4]], [null, null, 400], "what is not finite has no place");
  log.add(stepped(5, { skipped: true, rewound_to: 2 }));
  assert.deepEqual([log.steps, log.column("loss")], [[0, 1, 2], [null, 1, 0.5]]);
  log.add(stepped(3));
  log.addHeldout(1, 4);
  assert.deepEqual([log.steps, log.column("heldout")], [[0, 1, 2, 3], [6, 4, null, null]], "the best measurement may be of an earlier step");
  log.add(stepped(4, { grad_norm: NaN }));
  assert.equal(log.column("grad_norm").at(-1), null, "MeZO has no gradient");
});

test("a long log is thinned evenly, but for measurements and its last step", async () => {
  const { RunLog } = await studio("watch/run-log.ts");
  const log = new RunLog(100, 10);
  for (let step = 1; step <= 35; step++) {
    log.add(stepped(step));
    if (step === 7) log.addHeldout(step, 3);
    assert.ok(log.steps.length <= 11 && log.steps.at(-1) === step);
  }
  assert.deepEqual(log.steps, [4, 7, 8, 12, 16, 20, 24, 28, 32, 35]);
  assert.equal(log.column("seconds").at(-1), 17.5, "no step is left out of what they took");
});

test("logs are kept by the browser, exact where they grow large, and go with their runs", async () => {
  const { full, leave } = playPage();
  const { RunLogs, RunLog, LogKeeper, LearntStore } = await studio("watch/logs.ts", "watch/run-log.ts", "library/learnt.ts");
  const log = new RunLog(100);
  log.addHeldout(0, 6.5);
  for (const step of [1, 2]) log.add(stepped(step, { num_tokens: 3_000_000_001 + step }));
  assert.equal(await RunLogs.get("a"), undefined);
  await RunLogs.put("a", log);
  const kept = await RunLogs.get("a");
  assert.deepEqual([kept.total, kept.steps, kept.column("tokens"), kept.column("heldout")], [100, [0, 1, 2], [null, 3_000_000_002, 3_000_000_003], [6.5, null, null]]);
  assert.deepEqual(kept.column("loss"), [null, 1, 0.5]);
  kept.add(stepped(3));
  assert.deepEqual(kept.steps, [0, 1, 2, 3], "it can go on");

  const keeper = new LogKeeper();
  keeper.follow("b", log);
  keeper.later();
  assert.equal(await RunLogs.get("b"), undefined, "steps are written together");
  leave();
  await keeper.flush();
  assert.deepEqual((await RunLogs.get("b")).steps, [0, 1, 2]);
  full.add("tabtune-logs");
  keeper.later();
  await keeper.flush();
  full.delete("tabtune-logs");
  assert.ok(await RunLogs.get("b"), "no room for more is no reason to stop");

  assert.deepEqual(await RunLogs.ids(), ["a", "b"]);
  await new LearntStore().put({ version: 1, id: "b" });
  await RunLogs.tidy(async (id) => (await new LearntStore().get(id)) !== undefined);
  assert.deepEqual(await RunLogs.ids(), ["b"]);
  await RunLogs.delete("b");
  assert.deepEqual(await RunLogs.ids(), []);
});

test("what a log takes is noted when it is written, and it is read for that no more", async () => {
  const { full } = playPage();
  const { RunLogs, RunLog, createStore, set } = await studio("watch/logs.ts", "watch/run-log.ts", "../../node_modules/idb-keyval/dist/index.js");
  const log = new RunLog(100);
  for (const step of [1, 2, 3]) log.add(stepped(step));
  await RunLogs.put("a", log);
  // An earlier page noted nothing.
  full.add("tabtune-log-sizes");
  await RunLogs.put("b", log);
  full.delete("tabtune-log-sizes");
  // By hand: steps, seconds and tokens in 8 bytes each, the six others in 4.
  const bytes = 3 * (3 * 8 + 6 * 4);
  assert.deepEqual(await RunLogs.sizes(), new Map([["a", bytes], ["b", bytes]]));
  const store = createStore("tabtune-logs", "logs");
  for (const id of ["a", "b"]) await set(id, { version: 1, total: 1, every: 1, steps: new Float64Array(9), columns: {} }, store);
  await set("later", { version: 2 }, store);
  assert.deepEqual(await RunLogs.sizes(), new Map([["a", bytes], ["b", bytes]]), "both were known by then, and what a later version wrote is not measured");
  log.add(stepped(4));
  await RunLogs.put("a", log);
  await RunLogs.delete("b");
  assert.deepEqual(await RunLogs.sizes(), new Map([["a", (bytes / 3) * 4]]));
});

test("the lines of runs that lie over one another are told apart without their colours", async () => {
  const { looksOf, MOST_OTHERS } = await studio("watch/run-looks.ts");
  const css = readFileSync(join(paths.root, "www/studio/watch/watch.css"), "utf8");
  const dashes = new Set();
  for (let index = 0; index <= MOST_OTHERS; index++) {
    const { told, heldout } = looksOf(index);
    assert.notDeepEqual(told.dash, heldout.dash);
    assert.deepEqual([told.has_rings, heldout.has_rings], [false, true]);
    dashes.add(String(told.dash));
    // The list of runs has the same line beside each name.
    if (index > 0) assert.ok(css.includes(`.run-${index} {\n  stroke: var(${told.token});\n  stroke-dasharray: ${told.dash.join(" ")};\n}`), `run ${index}`);
  }
  assert.equal(dashes.size, MOST_OTHERS + 1);
});

test("what a later version of the page kept is not read, and not thrown away", async () => {
  playPage();
  const { RunLogs, createStore, set } = await studio("watch/logs.ts", "../../node_modules/idb-keyval/dist/index.js");
  await set("later", { version: 2 }, createStore("tabtune-logs", "logs"));
  assert.equal(await RunLogs.get("later"), undefined);
  await RunLogs.tidy(async () => false);
  assert.deepEqual(await RunLogs.ids(), ["later"]);
});

test("the part of a curve that is seen gets nearer, moves, and ends where the curve does", async () => {
  const { zoomed, moved } = await studio("watch/zoom.ts");
  const whole = [0, 100];
  assert.deepEqual(zoomed(whole, whole, 0.5), [25, 75]);
  assert.deepEqual(zoomed(whole, whole, 0.5, 20), [10, 60], "the place under the fingers stays");
  assert.equal(zoomed([25, 75], whole, 2), undefined, "that is all of it");
  assert.deepEqual(zoomed([0, 10], whole, 2), [0, 20]);
  assert.deepEqual(moved([20, 40], whole, 0.5), [30, 50]);
  assert.deepEqual([moved([20, 40], whole, -5), moved([20, 40], whole, 5)], [[0, 20], [80, 100]]);
  assert.equal(zoomed([50, 50.1], whole, 0.01)[1] - zoomed([50, 50.1], whole, 0.01)[0] > 0.09, true, "no nearer than a thousandth");
});

test("the time that is left counts measurements and answers that are to come", async () => {
  const { Remaining } = await studio("watch/remaining.ts");
  let now = 0;
  const remaining = new Remaining({ eval_steps: 10, sample_steps: 8 }, () => now);
  const at = (step) => ({ step, total_steps: 80, remaining_seconds: 80 - step });
  remaining.sampled();
  remaining.line(at(1));
  assert.equal(remaining.after(at(1)), 79, "nobody knows yet what they take, and what came before the first step is not told");
  const pause = (tell, seconds) => {
    now += 1000 * seconds;
    tell();
  };
  remaining.line(at(10));
  pause(() => remaining.line({ step: 10, eval_loss: 1 }), 3);
  assert.equal(remaining.after(at(10)), 70 + 7 * 3);
  remaining.line(at(16));
  pause(() => remaining.sampled(), 2);
  assert.equal(remaining.after(at(16)), 64 + 7 * 3 + 8 * 2);
  remaining.line(at(20));
  pause(() => remaining.line({ step: 20, eval_loss: 1 }), 1);
  assert.equal(remaining.after(at(20)), 60 + 6 * 2 + 8 * 2, "the mean of both");
  remaining.waited();
  pause(() => remaining.line({ step: 30, eval_loss: 1 }), 600);
  assert.equal(remaining.after(at(30)), 50 + 5 * 2 + 7 * 2, "a rest is none of them");
});

test("words of an answer that were not there before are told", async () => {
  const { changedWords } = await studio("watch/changed.ts");
  const parts = (earlier, later) => changedWords(earlier, later).map(({ text, is_new }) => (is_new ? `*${text}` : text));
  assert.deepEqual(parts("I do not know.", "I do know."), ["I do know."]);
  assert.deepEqual(parts("It is a red small box", "It is a blue box now"), ["It is a ", "*blue ", "box ", "*now"]);
  assert.deepEqual(parts("", "All new"), ["*All new"]);
  assert.deepEqual(parts("a b", ""), []);
  const long = "word ".repeat(500);
  assert.deepEqual(changedWords(long, `new ${long}`), [{ text: `new ${long}`, is_new: false }], "what is too long is not compared");
});

test("the tab's icon fills with the run, in pictures that are there, and is the page's own again", async () => {
  playPage();
  const icon = { href: "https://here/assets/icon.svg" };
  Object.assign(document, { querySelector: () => icon, baseURI: "https://here/page/", title: "" });
  const { title, ringOf } = await studio("shell/title.ts", "watch/icon.ts");
  assert.deepEqual([-1, 0, 12.4, 12.5, 50, 99.9, 100, 120].map(ringOf), [0, 0, 0, 1, 4, 7, 8, 8]);
  title.place = "train";
  title.percent = 51;
  assert.deepEqual([document.title, icon.href], ["51 % · Train · tabtune", "https://here/page/icon-4.svg"]);
  title.percent = undefined;
  assert.deepEqual([document.title, icon.href], ["Train · tabtune", "https://here/assets/icon.svg"]);
  for (let ring = 0; ring <= 8; ring++) assert.ok(existsSync(join(paths.root, `www/studio/public/icon-${ring}.svg`)));
});

test("a notification is asked for by a click alone, and shown only where nobody looks", async () => {
  const page = playPage();
  const shown = [];
  let asked = 0;
  globalThis.localStorage = { getItem: () => null, setItem() {} };
  globalThis.Notification = class extends EventTarget {
    static permission = "default";
    static requestPermission = async () => (asked++, (this.permission = page.answer));
    constructor(name, { body }) {
      super();
      shown.push(`${name}: ${body}`);
    }
  };
  const { Telling } = await studio("watch/telling.ts");
  const telling = new Telling();
  const box = page.element("tell-done");
  const choose = async (is_checked, answer) => {
    Object.assign(page, { answer });
    box.checked = is_checked;
    box.dispatchEvent(new Event("change"));
    await new Promise((resolve) => setTimeout(resolve));
  };
  document.hidden = true;
  telling.tell("Done.");
  assert.deepEqual([asked, shown], [0, []]);
  await choose(true, "denied");
  assert.deepEqual([asked, box.checked], [1, false]);
  assert.match(page.element("tell-note").textContent, /^This browser was told to show no notifications/);
  await choose(true, "granted");
  assert.deepEqual([asked, box.checked, page.element("tell-note").textContent], [2, true, ""]);
  document.hidden = false;
  telling.tell("Done: 3 steps.");
  document.hidden = true;
  telling.tell("Done: 4 steps.");
  assert.deepEqual(shown, ["tabtune: Done: 4 steps."]);
  await choose(false);
  telling.tell("Done: 5 steps.");
  assert.equal(shown.length, 1);
});

test("of power only the fall of the battery is told", async () => {
  const { batteryWords } = await studio("watch/machine.ts");
  assert.equal(batteryWords(undefined, undefined), "");
  assert.equal(batteryWords({ charging: true, level: 0.5 }, 0.6), "");
  assert.equal(batteryWords({ charging: false, level: 0.57 }, 0.6), "battery at 57 %, 3 % less than when it began");
  assert.equal(batteryWords({ charging: false, level: 0.6 }, 0.6), "battery at 60 %");
});

test("the questions of the place Home are asked in the rows that come with the page", async () => {
  const { QUESTIONS } = await studio("home/questions.ts");
  const rows = readFileSync(paths.data, "utf8").trim().split("\n").map((line) => JSON.parse(line).messages);
  const markup = readFileSync(join(paths.root, "www/studio/home/place.html"), "utf8");
  assert.ok(markup.includes(`learns ${rows.length} questions and answers`));
  for (const { text, after } of QUESTIONS) {
    const [, answer] = rows.find(([asked]) => asked.content === text) ?? assert.fail(text);
    assert.equal(after, answer.content, "the example of an answer is what was learnt");
  }
});
