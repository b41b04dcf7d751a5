import { showRing } from "../watch/icon.js";

/** The tab's title: how far work has come, and the place that is shown. The tab's icon shows the first, too. */
class Title {
  #place = "";
  #percent: number | undefined;

  set place(place: string) {
    this.#place = place;
    this.#write();
  }

  /** Undefined where nothing goes on. */
  set percent(percent: number | undefined) {
    this.#percent = percent;
    this.#write();
    showRing(percent);
  }

  #write(): void {
    const place = this.#place.charAt(0).toUpperCase() + this.#place.slice(1);
    const parts = [...(this.#percent === undefined ? [] : [`${this.#percent.toFixed(0)} %`]), ...(this.#place === "home" ? [] : [place]), "tabtune"];
    document.title = parts.join(" · ");
  }
}

export const title = new Title();
