/**
 * A moving average that gives earlier values ever less weight, as TensorBoard has it: each value counts `1 - weight`, and
 * what the first ones lack of that is made up for. A weight of 0 leaves all as it is.
 */
export function smoothed(values: readonly (number | null)[], weight: number): (number | null)[] {
  let sum = 0;
  let missing = 1;
  return values.map((value) => {
    if (value === null) return null;
    sum = weight * sum + (1 - weight) * value;
    missing *= weight;
    return sum / (1 - missing);
  });
}
