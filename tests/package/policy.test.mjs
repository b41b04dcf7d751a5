// When a run rests, by signals that are injected.
import assert from "node:assert/strict";
import { test } from "node:test";

/** What this page's browser tells; the module reads it when a guard starts. */
const navigator = {};
Object.defineProperty(globalThis, "navigator", { value: navigator, configurable: true });
const { Guard, meteredConnection, policyOf } = await import("../../www/package/build/policy.js");

class FakePressure {
  static observer;
  constructor(callback) {
    this.tell = (state) => callback([{ state }]);
    FakePressure.observer = this;
  }
  async observe(source) {
    assert.equal(source, "cpu");
  }
  disconnect() {
    this.ended = true;
  }
}

test("what the browser does not tell is not guessed", async () => {
  const guard = await Guard.start(policyOf({ require_mains: true }));
  assert.deepEqual(guard.signals, { battery: false, network: false, pressure: false });
  assert.equal(guard.objection(), undefined);
  assert.equal(meteredConnection(), undefined);
});

test("an interface that is refused counts as missing", async () => {
  navigator.getBattery = async () => {
    throw new DOMException("no", "NotAllowedError");
  };
  assert.equal((await Guard.start(policyOf())).signals.battery, false);
});

test("a run rests on battery where it must, and goes on at the mains", async () => {
  const battery = { charging: true, level: 0.05 };
  navigator.getBattery = async () => battery;
  const guard = await Guard.start(policyOf({ min_battery: 0.3 }));
  assert.equal(guard.objection(), undefined, "charging");
  battery.charging = false;
  assert.deepEqual(guard.objection(), { reason: "battery", detail: "the battery is at 5 %, and training stops below 30 %" });
  battery.level = 0.31;
  assert.equal(guard.objection(), undefined);
  const strict = await Guard.start(policyOf({ require_mains: true }));
  assert.equal(strict.objection().reason, "battery");
  delete navigator.getBattery;
});

test("a run rests under pressure, and the watch ends with it", async () => {
  globalThis.PressureObserver = FakePressure;
  const guard = await Guard.start(policyOf({ max_pressure: "serious" }));
  const { observer } = FakePressure;
  for (const [state, rests] of [["nominal", false], ["fair", false], ["serious", true], ["critical", true], ["fair", false]]) {
    observer.tell(state);
    assert.equal(guard.objection()?.reason, rests ? "pressure" : undefined, state);
  }
  guard.end();
  assert.ok(observer.ended);
  delete globalThis.PressureObserver;
});

/** The ways in which browsers tell of steps that take `millis`: each at its end, or two at once. */
const TOLD = {
  "each at its end": (millis) => [millis, millis],
  "two at once": (millis) => [2 * millis - 2, 2],
  "two at once, the short one first": (millis) => [2, 2 * millis - 2],
};

/**
 * Plays a run whose steps take `millis`, times what `slower` says of the second in which they begin. Tells the
 * seconds in which the run rested, and for what.
 */
async function play({ millis, seconds, slower, told = TOLD["each at its end"], policy }) {
  const guard = await Guard.start(policyOf(policy));
  const rests = [];
  let now = 0;
  let rested_at = -Infinity;
  while (now < seconds) {
    for (const time of told(millis * slower(now, rested_at))) {
      guard.stepped(time);
      now += time / 1000;
      const objection = guard.objection();
      if (!objection) continue;
      rests.push({ at: now, ...objection });
      now += 30;
      rested_at = now;
      guard.rested();
      assert.equal(guard.objection(), undefined, "slow steps from before a rest do not count");
    }
  }
  return rests;
}

const STEPS_MILLIS = [40, 900, 4000, 12_000];

test("a machine that is busy for a while is not hot", async () => {
  const between = (from, to, times) => (now) => (now >= from && now < to ? times : 1);
  for (const [what, slower] of Object.entries({
    "all cores taken for 20 s": between(100, 120, 2.5),
    "hardly anything left for 20 s": between(100, 120, 8),
    "another page that trains for a minute": between(100, 160, 3),
    "a program that is built for 90 s": between(100, 190, 4),
    "20 s of every 40": (now) => (now % 40 < 20 ? 3 : 1),
    "20 s at the very start": between(0, 20, 4),
    "a little slower for good": (now) => (now < 100 ? 1 : 1.8),
  })) {
    for (const millis of STEPS_MILLIS) {
      for (const [way, told] of Object.entries(TOLD)) {
        assert.deepEqual(await play({ millis, seconds: 900, slower, told }), [], `${what}, steps of ${millis} ms told ${way}`);
      }
    }
  }
});

test("a slow-down that lasts is heat, whatever the steps take and however they are told", async () => {
  for (const [what, slower, from] of [
    ["at once", (now) => (now < 200 ? 1 : 2.5), 200],
    ["over five minutes", (now) => 1 + Math.min(1, Math.max(0, now - 200) / 300) * 2, 350],
  ]) {
    for (const millis of STEPS_MILLIS) {
      for (const [way, told] of Object.entries(TOLD)) {
        const [first] = await play({ millis, seconds: 900, slower, told });
        const name = `${what}, steps of ${millis} ms told ${way}`;
        assert.equal(first?.reason, "heat", name);
        // Two minutes, and the stretches in which it began and was noticed, each of six steps at least.
        const longest = from + 120 + 2 * Math.max(20, 6 * 3 * (millis / 1000));
        assert.ok(first.at >= from + 100 && first.at <= longest, `${name}: after ${first.at - from} s`);
      }
    }
  }
});

test("a machine that grows hot again after each rest rests again", async () => {
  const slower = (now, rested_at) => (now - Math.max(rested_at, 0) < 120 ? 1 : 3);
  const rests = await play({ millis: 900, seconds: 1500, slower });
  assert.deepEqual(rests.map(({ reason }) => reason), ["heat", "heat", "heat", "heat", "heat"]);
  assert.equal(rests[0].detail, "steps take 3.0 times as long as at best");
});

test("what a rest does not help is no heat and becomes the measure", async () => {
  assert.equal((await play({ millis: 900, seconds: 3600, slower: (now) => (now < 100 ? 1 : 2.5) })).length, 1);
  const twice = (now) => (now < 100 ? 1 : now < 600 ? 2.5 : 6);
  const rests = await play({ millis: 900, seconds: 3600, slower: twice });
  assert.equal(rests.length, 2);
  assert.equal(rests[1].detail, "steps take 2.4 times as long as at best");
});

test("a machine that slept, and a first step that compiles, are not hot", async () => {
  const slept = (now) => (now > 100 && now < 104 ? 3600 : 1);
  assert.deepEqual(await play({ millis: 4000, seconds: 20_000, slower: slept }), []);
  const guard = await Guard.start(policyOf());
  guard.stepped(60_000);
  for (let step = 0; step < 400; step++) {
    guard.stepped(900);
    assert.equal(guard.objection(), undefined);
  }
});

test("a single fast step is no measure, and the caller says what is slow", async () => {
  const once = (now) => (now >= 50 && now < 51 ? 0.1 : 1);
  assert.deepEqual(await play({ millis: 900, seconds: 900, slower: once }), []);
  const slower = (now) => (now < 200 ? 1 : 2.5);
  assert.deepEqual(await play({ millis: 900, seconds: 900, slower, policy: { max_slowdown: 3 } }), []);
  assert.equal((await play({ millis: 900, seconds: 900, slower, policy: { max_slowdown: 1.5 } })).length, 1);
});

test("connections that cost are known", () => {
  navigator.connection = { saveData: true };
  assert.equal(meteredConnection(), "the browser is asked to save data");
  navigator.connection = { type: "cellular" };
  assert.equal(meteredConnection(), "the connection is a mobile one");
  navigator.connection = { type: "wifi" };
  assert.equal(meteredConnection(), undefined);
});

test("a wrong policy is refused by its entry", () => {
  for (const [policy, named] of [
    [{ min_batery: 0.1 }, "min_batery"],
    [{ min_battery: 2 }, "min_battery"],
    [{ min_battery: "low" }, "min_battery"],
    [{ max_pressure: "hot" }, "max_pressure"],
    [{ max_slowdown: 1 }, "max_slowdown"],
    [{ duty_cycle: 0 }, "duty_cycle"],
  ]) {
    assert.throws(() => policyOf(policy), ({ code, message }) => code === "bad-option" && message.includes(`policy.${named}`));
  }
});
