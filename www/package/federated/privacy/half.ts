/** The largest finite value of a half. */
export const HALF_MAX = 65_504;
/** Halves below this are subnormal: multiples of 2^-24. */
const SMALLEST_NORMAL = 2 ** -14;
/** Added and taken away again, it rounds an f64 of less than 2^51 to a whole number, half to even. */
const ROUNDER = 1.5 * 2 ** 52;

const number = new Float32Array(1);
const bits = new Uint32Array(number.buffer);

/** x, of less than 2^51, as a whole number, half to even (IEEE 754's roundTiesToEven, and numpy's rint). */
export function roundHalfEven(x: number): number {
  return x + ROUNDER - ROUNDER;
}

/** The bits of the half nearest to a finite f32, half to even; what is beyond all halves becomes the last one. */
export function toHalf(value: number): number {
  const half = halfBits(Math.abs(value), roundHalfEven);
  return value < 0 || Object.is(value, -0) ? half | 0x8000 : half;
}

/** The bits of the smallest half that is at least a finite f32 of 0 or more, or of the last half. */
export function toHalfUp(value: number): number {
  return halfBits(value, Math.ceil);
}

/** The value of the half with these bits. */
export function fromHalf(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >>> 10) & 0x1f;
  const mantissa = half & 0x3ff;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  if (exponent === 0x1f) return mantissa === 0 ? sign * Infinity : NaN;
  return sign * (1024 + mantissa) * POWERS[exponent]!;
}

/** The place of a half's last bit by its exponent field: 2^(exponent - 25). */
const POWERS = Float64Array.from({ length: 32 }, (_, exponent) => 2 ** (exponent - 25));

/** A mantissa that is rounded up to 2048 carries into the exponent by itself. */
function halfBits(magnitude: number, round: (x: number) => number): number {
  const within = Math.min(magnitude, HALF_MAX);
  if (within < SMALLEST_NORMAL) return round(within * 2 ** 24);
  number[0] = within;
  const exponent = (bits[0]! >>> 23) - 127 + 15;
  return exponent * 1024 + round(within / POWERS[exponent]!) - 1024;
}
