import { element } from "../ui/dom.js";
import { title } from "./title.js";

/** The places of the page. The address of each is its name after a `#`, so that links, bookmarks and the back button work wherever the page lies. */
const PLACES = ["home", "data", "train", "chat", "library"] as const;
export type PlaceName = (typeof PLACES)[number];

/** How far down each place was, so that one comes back to where one was. */
const scrolled = new Map<PlaceName, number>();
const heard: ((place: PlaceName) => void)[] = [];
let here: PlaceName = "home";
/** How often another place was entered. */
let moves = 0;

/** Shows the place that the address names, now and whenever it changes. */
export function beginPlaces(): void {
  history.scrollRestoration = "manual";
  addEventListener("hashchange", () => arrive(named() ?? here));
  arrive(named() ?? "home");
}

/** The place that is shown. */
export function placeNow(): PlaceName {
  return here;
}

/** Notes where the person is; what it gives tells whether they have stayed in that place ever since. */
export function staying(): () => boolean {
  const before = moves;
  return () => moves === before;
}

/** Tells of each place that is entered. */
export function onPlace(entered: (place: PlaceName) => void): void {
  heard.push(entered);
}

/** What the address says behind the name of the place that is shown, as the chat of `#chat/ID`; empty where it says no more. */
export function placeRest(): string {
  const [place, ...rest] = location.hash.slice(1).split("/");
  return place === here ? rest.join("/") : "";
}

/** Writes behind the name of a place what is shown there: as a new entry of the history, or in place of the last one. */
export function writeRest(place: PlaceName, rest: string, how: "push" | "replace"): void {
  if (place !== here || placeRest() === rest) return;
  const address = rest ? `#${place}/${rest}` : `#${place}`;
  if (how === "push") history.pushState(null, "", address);
  else history.replaceState(null, "", address);
}

/** Shows a place, which gets an entry of its own in the history. */
export function goTo(place: PlaceName): void {
  if (place === here) return;
  history.pushState(null, "", `#${place}`);
  arrive(place);
}

/** Brings a part of the page into view, in its place: smoothly, unless the person asked for less motion. */
export function reveal(id: string, block: ScrollLogicalPosition): void {
  const part = element(id);
  const place = part.closest<HTMLElement>("[data-place]")?.dataset["place"] as PlaceName | undefined;
  if (place) goTo(place);
  const is_still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  part.scrollIntoView({ block, behavior: is_still ? "instant" : "smooth" });
}

/** The place that an address names; undefined where it names none, as a link to an adapter does. */
function named(): PlaceName | undefined {
  const name = location.hash.slice(1).split("/")[0];
  return PLACES.find((place) => place === name);
}

function arrive(place: PlaceName): void {
  const left = here;
  if (place !== left) {
    scrolled.set(left, scrollY);
    moves += 1;
  }
  here = place;
  for (const part of document.querySelectorAll<HTMLElement>("[data-place]")) part.hidden = part.dataset["place"] !== place;
  for (const link of document.querySelectorAll<HTMLAnchorElement>("#places a")) {
    if (link.hash === `#${place}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  title.place = place;
  if (place !== left) {
    scrollTo({ top: scrolled.get(place) ?? 0, behavior: "instant" });
    // The keyboard and screen readers go on from where the new place begins.
    element(`${place}-title`).focus({ preventScroll: true });
  }
  for (const entered of heard) entered(place);
}
