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
    if (this.steps.at(-1) !== step) {
      this.steps.push(step);
      for (const column of this.values) column.push(null);
    }
    this.values[column]![this.steps.length - 1] = value;
  }

  /** Takes away what came after that step, which is done again. */
  goBack(step: number): void {
    while ((this.steps.at(-1) ?? step) > step) for (const column of this.all) column.pop();
  }
}
