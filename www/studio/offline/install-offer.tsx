import { signal } from "@preact/signals";
import { render } from "preact";
import { element } from "../ui/dom.js";
import { askToInstall, followInstall } from "./install.js";

/** Whether the browser would install the page as an app. */
const is_offered = signal(false);
followInstall((is_now) => (is_offered.value = is_now));

interface ButtonProps {
  look: "primary" | "quiet";
  /** The person was asked. */
  asked?(): void;
}

/** Has the browser ask whether to install the page; nothing where it would not. */
export function InstallButton({ look, asked }: ButtonProps) {
  if (!is_offered.value) return null;
  return (
    <button type="button" class={look} onClick={() => void askToInstall().then(asked)}>
      Install as an app
    </button>
  );
}

/** The same with what it is good for, where it is always found. With the offer goes the button that had the keyboard. */
function InstallOffer() {
  if (!is_offered.value) return null;
  return (
    <section class="card row centred" aria-labelledby="install-title">
      <div class="grows">
        <h3 id="install-title">Keep it as an app</h3>
        <p class="hint">It opens in a window of its own, without a network too, and the browser is less likely to clear away what you keep.</p>
      </div>
      <InstallButton look="quiet" asked={() => element("home-title").focus({ preventScroll: true })} />
    </section>
  );
}

/** Offers it in that part of the page. */
export function offerInstall(box: HTMLElement): void {
  render(<InstallOffer />, box);
}
