import { element, write } from "../ui/dom.js";
import { stored } from "../ui/stored.js";

const KEY = "tabtune:tell-done";

const REFUSED = "This browser was told to show no notifications of this page. Allow them beside its address.";
const MISSING = "This browser has no notifications.";

/** Tells of a run that came to something while the tab was not looked at, for those who asked for that. */
export class Telling {
  readonly #box = element<HTMLInputElement>("tell-done");

  constructor() {
    this.#box.checked = stored.get<boolean>(KEY) === true && globalThis.Notification?.permission === "granted";
    this.#box.addEventListener("change", () => void this.#chosen());
  }

  /** Says it, unless the tab is in sight. */
  tell(words: string): void {
    if (this.#box.checked && document.hidden) void notify(words);
  }

  async #chosen(): Promise<void> {
    write("tell-note", "");
    if (this.#box.checked && !(await this.#mayTell())) this.#box.checked = false;
    stored.set(KEY, this.#box.checked);
  }

  /** Browsers let a page ask only after a click. */
  async #mayTell(): Promise<boolean> {
    if (!("Notification" in globalThis)) {
      write("tell-note", MISSING);
      return false;
    }
    const is_allowed = (await Notification.requestPermission()) === "granted";
    if (!is_allowed) write("tell-note", REFUSED);
    return is_allowed;
  }
}

async function notify(body: string): Promise<void> {
  const what = { body, tag: "tabtune" };
  try {
    const shown = new Notification("tabtune", what);
    shown.addEventListener("click", () => {
      window.focus();
      shown.close();
    });
  } catch {
    // Browsers of phones leave it to a page's service worker, where there is one.
    await (await navigator.serviceWorker?.getRegistration())?.showNotification("tabtune", what);
  }
}
