// Numbers that look random and are the same for a seed everywhere, for tests that try many things.

/** Words of 32 bits from a seed (mulberry32). */
export function words(seed) {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
}

/** Whole numbers below what is asked, from a seed. */
export function drawing(seed) {
  const next = words(seed);
  return (end) => Math.floor((next() / 2 ** 32) * end);
}
