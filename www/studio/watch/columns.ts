/** Values by step, in the columns that a chart draws. */
export class Columns {
  readonly steps: number[] = [];
  readonly values: (number | null)[][];

  constructor(count: number) {
    this.values = Array.from({ length: count }, () => []);
  }

  /** The steps and the columns behind them. */
  get all(): [number[], ...(number | null)[][]] {
    return [this.steps, ...this.values];
  }

  clear(): void {
    for (const column of this.all) column.length = 0;
  }

  set(column: number, step: number, value: number): void {
    this.values[column]![this.#placeOf(step)] = value;
  }

  /** Takes away what came after that step, which is done again. */
  goBack(step: number): void {
    while ((this.steps.at(-1) ?? step) > step) for (const column of this.all) column.pop();
  }

  /** Takes one row away. */
  drop(place: number): void {
    for (const column of this.all) column.splice(place, 1);
  }

  /** Leaves only those rows, by their place, that are wanted. */
  keep(is_wanted: (place: number) => boolean): void {
    const places = this.steps.flatMap((_, place) => (is_wanted(place) ? [place] : []));
    for (const column of this.all) {
      places.forEach((from, to) => (column[to] = column[from]!));
      column.length = places.length;
    }
  }

  /** Where a step has its row, which is made where there is none. What is measured last may be of an earlier step. */
  #placeOf(step: number): number {
    let place = this.steps.length;
    while (place > 0 && this.steps[place - 1]! > step) place--;
    if (this.steps[place - 1] === step) return place - 1;
    this.steps.splice(place, 0, step);
    for (const column of this.values) column.splice(place, 0, null);
    return place;
  }
}
