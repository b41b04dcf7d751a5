import { find, type Found, type SearchedPage } from "./search.js";

/** How many places are listed. Who has more than these had better add a word. */
const LISTED = 20;

/** How long "Copied" stands on a button. */
const COPIED_MILLIS = 2000;

const input = byId<HTMLInputElement>("query");
const count = byId("count");
const list = byId("found");
const index = new URL(input.dataset["index"]!, location.href);

/** All pages, asked for when somebody first looks for something. */
let pages: Promise<SearchedPage[]> | undefined;

function byId<Kind extends HTMLElement = HTMLElement>(id: string): Kind {
  return document.getElementById(id) as Kind;
}

async function load(): Promise<SearchedPage[]> {
  const response = await fetch(index);
  if (!response.ok) throw new Error(`${index}: the server answered ${response.status}`);
  return (await response.json()) as SearchedPage[];
}

/** Shows what the pages have of what is typed. */
async function search(): Promise<void> {
  const query = input.value;
  pages ??= load();
  const loaded = await pages.catch(() => undefined);
  if (!loaded) pages = undefined;
  // Something else may have been typed meanwhile.
  if (query !== input.value) return;
  const found = loaded ? find(loaded, query) : [];
  list.replaceChildren(...found.slice(0, LISTED).map(item));
  list.hidden = found.length === 0;
  count.textContent = query.trim() === "" ? "" : loaded ? counted(found.length) : "The search could not be loaded. Type on to try again.";
}

function counted(places: number): string {
  if (places === 0) return "Nothing has all of these words.";
  if (places > LISTED) return `The best ${LISTED} of ${places} places`;
  return places === 1 ? "One place" : `${places} places`;
}

function item({ address, title, heading, excerpt }: Found): HTMLLIElement {
  const link = document.createElement("a");
  link.href = new URL(address, index).href;
  link.textContent = heading ? `${title}: ${heading}` : title;
  const text = document.createElement("p");
  text.append(...excerpt.map(({ text, is_hit }) => (is_hit ? marked(text) : text)));
  const item = document.createElement("li");
  item.append(link, text);
  return item;
}

function marked(text: string): HTMLElement {
  const mark = document.createElement("mark");
  mark.textContent = text;
  return mark;
}

function clearSearch(): void {
  input.value = "";
  void search();
}

/** A button on each block of code that copies it. Without a script there would be nothing that it does. */
function addCopying(block: HTMLElement): void {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "small";
  button.textContent = "Copy";
  button.ariaLabel = "Copy this code";
  const copy = async (): Promise<void> => {
    const told = await navigator.clipboard.writeText(block.querySelector("code")!.textContent).then(() => "Copied", () => "Not allowed");
    button.textContent = told;
    byId("copied").textContent = told;
    setTimeout(() => {
      button.textContent = "Copy";
      byId("copied").textContent = "";
    }, COPIED_MILLIS);
  };
  button.addEventListener("click", () => void copy());
  block.append(button);
}

/** What is wider than the page can be reached by keyboard, and only that is a stop on the way through the page. */
const widths = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    if (target.scrollWidth > target.clientWidth) target.setAttribute("tabindex", "0");
    else target.removeAttribute("tabindex");
  }
});

input.hidden = false;
input.addEventListener("input", () => void search());
input.addEventListener("keydown", (event) => {
  if (event.key === "Escape") clearSearch();
  if (event.key === "Enter") list.querySelector("a")?.click();
});
// A place on this very page is gone to without another page that would clear it.
list.addEventListener("click", (event) => {
  if ((event.target as Element).closest("a")) clearSearch();
});
for (const block of document.querySelectorAll<HTMLElement>(".code")) addCopying(block);
for (const wide of document.querySelectorAll(".wide, pre")) widths.observe(wide);

// The list of all guides is open where its style sheet takes the fold away, for those who hear the page as well.
const chapters = document.querySelector<HTMLElement>(".chapters")!;
new ResizeObserver(() => {
  const [fold, folded] = [chapters.querySelector("details")!, chapters.querySelector("summary")!];
  if (getComputedStyle(folded).display === "none") fold.open = true;
}).observe(chapters);

// It is longer than the window, so it begins where the page that is open stands.
const here = chapters.querySelector<HTMLElement>("[aria-current]");
if (here) chapters.scrollTop = here.offsetTop - chapters.clientHeight / 3;
