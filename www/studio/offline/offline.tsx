import { signal } from "@preact/signals";
import { render } from "preact";
import { showConnection } from "./connection.js";
import { element } from "../ui/dom.js";
import { offerInstall } from "./install-offer.js";
import { Notices } from "./notices.js";
import { Updates } from "./updates.js";

const is_busy = signal(false);

/**
 * Makes the page one that works without a network, and tells the person of that and of new versions. `settle` ends what the page
 * looks up on its own: a new version takes over once the old one answers nothing more.
 */
export function beginOffline(settle: () => void): void {
  showConnection();
  const updates = new Updates();
  const place = document.createElement("aside");
  place.className = "page-news";
  place.setAttribute("aria-label", "About this page");
  document.body.append(place);
  offerInstall(element("install"));
  const use = (): void => {
    settle();
    void updates.use();
  };
  render(<Notices updates={updates} isBusy={() => is_busy.value} use={use} />, place);
  updates.begin();
}

/** While work is under way, nothing is offered that would end it. */
export function tellWork(is_running: boolean): void {
  is_busy.value = is_running;
}
