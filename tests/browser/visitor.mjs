// A person who visits the page: what all tests of it need.
import { paths } from "../../tools/lib/paths.mjs";
import { fewRows, openLab } from "./support.mjs";

/** How long a visitor waits for anything. On a machine that does other work too, what takes a moment may take many seconds. */
export const PATIENCE_MILLIS = 120_000;

/**
 * Opens a browser for the page, which has few held-out rows, and gives what `openLab` does beside a visitor's. `as` makes another page of it, such as one whose `person` goes from place to place.
 */
export async function openVisit(t, { as = (page) => page, device = "cpu", ...options } = {}) {
  const lab = await openLab(t, { device, ...options });
  const { server, mounts, requests } = lab;
  mounts["/data/faq.heldout.jsonl"] = fewRows(paths.heldout);
  lab.page.setDefaultTimeout(PATIENCE_MILLIS);
  const page = as(lab.page);
  return { page, server, mounts, requests, ...visitorOf(page) };
}

/**
 * What a person does and is told on a page of the site. `complaints` are errors that the console tells. Questions of the page are
 * answered yes, or by the text `answers.next`, or no where that is `false`; `answers.asked` has them all.
 */
export function visitorOf(page) {
  const complaints = [];
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  page.on("pageerror", (error) => complaints.push(error.message));
  const answers = { next: undefined, asked: [] };
  page.on("dialog", (dialog) => {
    answers.asked.push(dialog.message());
    void (answers.next === false ? dialog.dismiss() : dialog.accept(answers.next));
  });
  const button = (name) => page.getByRole("button", { name, exact: true });
  /** Waits until the page says so, wherever the person is. */
  const status = (text) => page.locator("#status").filter({ hasText: text }).waitFor({ state: "attached" });
  /** Waits until a run says that it has made more than so many steps. Resolves to how many. */
  const beyond = async (steps) => {
    const made = await page.waitForFunction((steps) => {
      const step = Number(/^Step (\d+) of /.exec(document.querySelector("#status").textContent)?.[1]);
      return step > steps && step;
    }, steps);
    return made.jsonValue();
  };
  /** Waits until the model does nothing. */
  const idle = () => page.waitForFunction(() => !document.querySelector("#ask-begin").disabled);
  /** What the library has of that kind under that name. */
  const entry = (kind, name) => page.locator(`#library-list > li[data-kind=${kind}]`).filter({ has: page.locator(".item-name").getByText(name, { exact: true }) });
  /** The pixels by which the page is wider than its window. */
  const tooWide = () => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  return { complaints, answers, button, status, beyond, idle, entry, tooWide };
}
