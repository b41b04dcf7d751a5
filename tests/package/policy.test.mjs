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

test("steps that become slow are heat, until the machine has rested", async () => {
  const guard = await Guard.start(policyOf({ max_slowdown: 2 }));
  const steps = (count, millis) => Array.from({ length: count }, () => guard.stepped(millis));
  steps(1, 100);
  steps(40, 1000);
  assert.equal(guard.objection(), undefined, "one fast step is no measure");
  steps(4, 2500);
  assert.equal(guard.objection(), undefined, "nor are some slow ones");
  steps(12, 2500);
  assert.deepEqual(guard.objection(), { reason: "heat", detail: "steps take 2.5 times as long as at best" });
  guard.rested();
  assert.equal(guard.objection(), undefined);
  steps(12, 2500);
  assert.equal(guard.objection(), undefined, "what a rest does not help is no heat");
  steps(12, 6000);
  assert.equal(guard.objection().reason, "heat");
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
