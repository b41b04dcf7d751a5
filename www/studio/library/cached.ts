import { cachedModels, forgetModel } from "tabtune";
import { deleteButton } from "../ui/buttons.js";
import { element, make, show } from "../ui/dom.js";
import { bytes } from "../ui/format.js";

/** The models that were downloaded and are kept in the browser, to be deleted when their room is needed. */
export class CachedModels {
  readonly #work: (work: () => Promise<void>) => void;

  /** `work` is to be done when nothing else runs. */
  constructor(work: (work: () => Promise<void>) => void) {
    this.#work = work;
  }

  async refresh(): Promise<void> {
    const sizes = new Map<string, number>();
    for (const { name, bytes: size } of await cachedModels()) sizes.set(name, (sizes.get(name) ?? 0) + size);
    element("cached").replaceChildren(...[...sizes].map(([name, size]) => this.#item(name, size)));
    show("cached-models", sizes.size > 0);
  }

  #item(name: string, size: number): HTMLElement {
    const question = `Delete “${name}” from this browser? It is downloaded again when it is needed.`;
    const remove = deleteButton(name, () => question, () => this.#work(() => forgetModel(name)));
    return make("li", "", make("span", "", make("b", "", name), make("span", "hint", bytes(size))), remove);
  }
}
