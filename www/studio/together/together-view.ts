import type { FederationEvent, Offer, Round, Terms } from "tabtune/federated";
import { cardView } from "../library/card-view.js";
import { element, make, show, write } from "../ui/dom.js";
import { bytes, duration, fixed } from "../ui/format.js";
import { RoundChart } from "./round-chart.js";
import { eventWords, grouped, isEnrolled, lossWords, offerLines, termsLines, type Mine } from "./together-words.js";
import { reveal } from "../shell/places.js";

const ON_HELD_OUT = "Measured on rows that you hold out: before and after your steps, and of what all have made together.";
const ON_TRAINED = "Of your first and your last step in each round, since no rows of yours are held out.";

/** What is shown of learning together. All that comes from the server is put in as text. */
export class TogetherView {
  readonly #chart = new RoundChart();
  readonly #list = element<HTMLTableSectionElement>("together-list");
  /** Of each round. */
  #steps = 1;
  #countdown: ReturnType<typeof setInterval> | undefined;

  /** What the server asks of those who join. */
  terms(terms: Terms): void {
    write("together-name", terms.name);
    element("together-terms").replaceChildren(cardView(termsLines(terms)));
  }

  /** All that joining means, to be agreed to or not. */
  offer(offer: Offer, mine: Mine): void {
    show("together-going", false);
    element("together-lines").replaceChildren(cardView(offerLines(offer, mine)));
    const is_enrolled = isEnrolled(offer.terms, offer.public_key);
    element<HTMLButtonElement>("together-join").disabled = !is_enrolled;
    write("together-fingerprint", grouped(offer.fingerprint));
    show("together-unlisted", !is_enrolled);
    for (const id of ["together-offer", "together-key"]) show(id, true);
    element("together-offer-title").focus({ preventScroll: true });
    reveal("together-offer", "start");
  }

  offerOver(): void {
    show("together-offer", false);
  }

  /** The model is loaded, and rows are made ready. */
  prepare(): void {
    this.#list.replaceChildren();
    this.#chart.clear();
    show("together-rounds", false);
    this.stand("Getting ready…");
  }

  /** It begins, or goes on; who runs it was read. */
  begin({ terms, steps }: Offer): void {
    this.#steps = steps;
    this.#chart.begin(terms.rounds);
    element<HTMLDetailsElement>("together-about").open = false;
    write("together-round", "Before the next round");
    this.#bar(0);
  }

  /** What happens, in words and on the bar. */
  event(event: FederationEvent): void {
    clearInterval(this.#countdown);
    if (event.type === "unreachable") return this.#unreachable(event);
    if (event.type === "round") {
      write("together-round", `Round ${event.number} of ${event.rounds}`);
      this.#bar(0);
    }
    if (event.type === "step") {
      // Steps count on over all rounds.
      const made = ((event.log.step - 1) % this.#steps) + 1;
      this.#bar((100 * made) / this.#steps);
      write("together-waits", `Step ${made} of ${this.#steps} of this round`);
    }
    if (event.type === "evaluated") this.#together(event.number, event.loss);
    const words = eventWords(event);
    if (words !== undefined) this.tell(words);
  }

  /** Says what is waited for. */
  tell(words: string): void {
    clearInterval(this.#countdown);
    write("together-waits", words);
    write("together-said", words);
  }

  /** A round is over for this browser. One that is made again takes the place of the one before. */
  round(round: Round): void {
    this.#chart.add(round);
    const { number, bytes_up, seconds, is_held_out } = round;
    const cells = [lossWords(round), "", bytes(bytes_up), duration(seconds)].map((text) => make("td", "", text));
    const heading = make("th", "", String(number));
    heading.scope = "row";
    const row = make("tr", "", heading, ...cells);
    row.dataset.round = String(number);
    this.#rowOf(number)?.remove();
    this.#list.append(row);
    write("together-measured", is_held_out ? ON_HELD_OUT : ON_TRAINED);
    show("together-rounds", true);
    this.#bar(100);
  }

  /** Says where it stands while there is no round. */
  stand(words: string): void {
    clearInterval(this.#countdown);
    show("together-going", true);
    show("together-bar", false);
    write("together-round", words);
    write("together-waits", "");
    write("together-said", words);
  }

  #together(number: number, loss: number): void {
    this.#chart.addTogether(number, loss);
    const cell = this.#rowOf(number)?.cells[2];
    if (cell) cell.textContent = fixed(loss);
  }

  #rowOf(number: number): HTMLTableRowElement | null {
    return this.#list.querySelector<HTMLTableRowElement>(`[data-round="${number}"]`);
  }

  #bar(percent: number): void {
    for (const id of ["together-going", "together-bar"]) show(id, true);
    element<HTMLProgressElement>("together-bar").value = percent;
  }

  /** Why it waits is read out once; the seconds are for the eye alone. */
  #unreachable({ seconds }: { seconds: number }): void {
    this.tell("The server does not answer. It is asked again until it does.");
    const until = Date.now() + 1000 * seconds;
    const tick = () => {
      const left = Math.max(0, Math.ceil((until - Date.now()) / 1000));
      write("together-waits", `The server does not answer. It is asked again in ${left} s.`);
    };
    tick();
    this.#countdown = setInterval(tick, 1000);
  }
}
