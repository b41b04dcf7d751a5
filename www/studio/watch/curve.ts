import type uPlot from "uplot";
import { Columns } from "./columns.js";
import { plotting } from "../ui/plotting.js";
import { element } from "../ui/dom.js";
import { onSize } from "../ui/sized.js";
import { onTheme } from "../shell/theme.js";

/** What a chart looks like, and how it is told to those who do not see it. */
export interface Look {
  /** In CSS pixels; it is as wide as its place. */
  height: number;
  /** Asked for anew when light turns dark, because charts are drawn with fixed colours. */
  options(): Omit<uPlot.Options, "width" | "height">;
  words(steps: number[], columns: (number | null)[][]): string;
}

/** Values by step in a part of the page: what all its charts have in common. */
export class Curve {
  readonly #box: HTMLElement;
  readonly #columns: Columns;
  readonly #look: Look;
  #plot: uPlot | undefined;
  #is_built = false;
  #frame = 0;

  /** A chart of so many columns in the part with that id. */
  constructor(id: string, columns: number, look: Look) {
    this.#box = element(id);
    this.#columns = new Columns(columns);
    this.#look = look;
    onSize(this.#box, () => this.#plot?.setSize(this.#size));
    onTheme(() => this.#plot && this.build());
  }

  get is_built(): boolean {
    return this.#is_built;
  }

  /** Takes the picture and its values away. */
  clear(): void {
    this.#plot?.destroy();
    this.#plot = undefined;
    this.#is_built = false;
    this.#columns.clear();
  }

  build(): void {
    this.#is_built = true;
    const Plot = plotting(() => this.#is_built && this.build());
    this.#plot?.destroy();
    this.#plot = Plot && new Plot({ ...this.#size, ...this.#look.options() }, this.#columns.all, this.#box);
  }

  /** A picture that is built already shows it. */
  set(column: number, step: number, value: number): void {
    this.#columns.set(column, step, value);
    this.#draw();
  }

  /** Takes away what came after that step, which is done again. */
  goBack(step: number): void {
    this.#columns.goBack(step);
    this.#draw();
  }

  get #size(): { width: number; height: number } {
    return { width: this.#box.clientWidth, height: this.#look.height };
  }

  #draw(): void {
    if (this.#frame) return;
    this.#frame = requestAnimationFrame(() => {
      this.#frame = 0;
      this.#plot?.setData(this.#columns.all);
      this.#box.setAttribute("aria-label", this.#look.words(this.#columns.steps, this.#columns.values));
    });
  }
}
