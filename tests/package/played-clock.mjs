// Time that goes by as a test says, however slow the machine is and whatever else it does meanwhile.

/** The steps in which it goes by, in milliseconds. */
const TICK = 10;

/** Longer than anything that is waited for. */
const MOST_MILLIS = 3_600_000;

/** Lets what was begun come to rest, as far as no time has to go by for it. */
async function settled() {
  for (let turns = 0; turns < 5; turns++) await new Promise((resolve) => setImmediate(resolve));
}

/**
 * Puts a clock in the place of the timers and of performance.now() until the test `t` is over, and gives
 * - `pass(millis)`, which lets time go by, with all that it brings about;
 * - `during(promise)`, which lets time go by until that is settled, and gives what comes of it;
 * - `sleep(millis)`: so much time goes by in which nothing runs, as where a browser puts a page to sleep.
 */
export function playClock(t) {
  let now = performance.now();
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  t.mock.method(performance, "now", () => now);
  const tick = async () => {
    now += TICK;
    t.mock.timers.tick(TICK);
    await settled();
  };
  return {
    async pass(millis) {
      await settled();
      for (let passed = 0; passed < millis; passed += TICK) await tick();
    },
    async during(promise) {
      let is_over = false;
      const over = () => (is_over = true);
      promise.then(over, over);
      await settled();
      for (let passed = 0; !is_over; passed += TICK) {
        if (passed > MOST_MILLIS) throw new Error("what is waited for does not come");
        await tick();
      }
      return promise;
    },
    sleep(millis) {
      now += millis;
    },
  };
}
