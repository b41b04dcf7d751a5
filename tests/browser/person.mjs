// A person who looks for something on the page goes to the place that has it. What is in another place is hidden, and a
// test would only say where everything is.

/** What a person can only do with what they see, which is waited for. */
const DOING = new Set(["click", "fill", "check", "uncheck", "press", "focus", "selectOption", "hover", "boundingBox", "innerText"]);
/** What tells whether they see it now. */
const SEEING = new Set(["isVisible", "isHidden", "isEnabled", "isDisabled", "allInnerTexts"]);
const FINDING = new Set(["locator", "getByText", "getByLabel", "getByRole", "getByPlaceholder", "getByTitle", "filter", "first", "last", "nth", "and", "or"]);

const plain = new WeakMap();

/** The same page, whose person goes to the place of what they look for. */
export function person(page) {
  return new Proxy(page, {
    get(target, name) {
      const value = target[name];
      if (typeof value !== "function") return value;
      const finding = (name) => (...given) => found(page, find(target, name, given, false), find(target, name, given, true));
      if (name === "click") return (selector) => finding("locator")(selector).click();
      return FINDING.has(name) ? finding(name) : value.bind(target);
    },
  });
}

/** `hidden` finds the same, also where it is hidden: what has a role is not found there otherwise. */
function found(page, locator, hidden) {
  const made = new Proxy(locator, {
    get(target, name) {
      const value = target[name];
      if (typeof value !== "function") return value;
      if (FINDING.has(name)) return (...given) => found(page, find(target, name, given, false), find(hidden, name, given, true));
      if (name === "all") {
        return async () => {
          await reach(page, hidden);
          return (await value.call(target)).map((one) => found(page, one, one));
        };
      }
      return async (...given) => {
        const waits = DOING.has(name) || (name === "waitFor" && (given[0]?.state ?? "visible") === "visible");
        if (SEEING.has(name)) await reach(page, hidden);
        // Words that change, such as how far a run is, may be others again once they are there.
        while (waits) {
          await hidden.first().waitFor({ ...(name === "waitFor" && given[0]), state: "attached" });
          if (await reach(page, hidden)) break;
        }
        return value.apply(target, given);
      };
    },
  });
  plain.set(made, locator);
  return made;
}

function find(from, name, given, is_hidden) {
  const bare = given.map((value) => {
    if (plain.has(value)) return plain.get(value);
    if (value?.has) return { ...value, has: plain.get(value.has) ?? value.has };
    return value;
  });
  if (name === "getByRole" && is_hidden) bare[1] = { ...bare[1], includeHidden: true };
  return from[name](...bare);
}

/**
 * Goes to the place of the first that is found, by the page's navigation; nowhere where one is in sight or may come into it.
 * Resolves to whether there is one at all.
 */
async function reach(page, hidden) {
  const { place, is_there } = await hidden.evaluateAll((all) => {
    const is_there = all.length > 0;
    if (all.some((element) => element.checkVisibility())) return { is_there };
    // What is in no place is in a dialog.
    const places = all.map((element) => element.closest("[data-place]")).filter(Boolean);
    return { is_there, place: places.every(({ hidden }) => hidden) ? places[0]?.dataset.place : undefined };
  });
  if (place) await page.locator(`#places a[href="#${place}"]`).click();
  return is_there;
}
