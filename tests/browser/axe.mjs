// What keeps people from using a page, as axe-core finds it.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/**
 * What is serious or worse, on all of the page or `within` a part of it; in each of these colour schemes, or as the page is. The
 * policy of the page lets no script in, and what a debugger evaluates is none.
 */
export async function seriousIn(page, { within, schemes } = {}) {
  if (!(await page.evaluate(() => "axe" in globalThis))) await page.evaluate(AXE);
  const found = [];
  for (const colorScheme of schemes ?? [undefined]) {
    // A colour that is still on its way to another has the contrast of neither.
    if (colorScheme) await page.emulateMedia({ colorScheme, reducedMotion: "reduce" });
    const violations = await page.evaluate(look, within);
    const serious = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
    found.push(...serious.map(({ id, nodes }) => [colorScheme, id, ...nodes.map(({ html, failureSummary }) => `${html} ${failureSummary}`)].filter(Boolean).join(": ")));
  }
  return found;
}

/**
 * Runs in the page. axe-core does not ask by itself whether what is to be touched is large enough for a finger. What stays in sight,
 * as the head of the page, lies over other things until one scrolls; it is looked at where it is written.
 */
async function look(within) {
  const over = [...document.querySelectorAll("body *:not(dialog)")].filter((part) => ["fixed", "sticky"].includes(getComputedStyle(part).position));
  for (const { style } of over) style.position = "static";
  try {
    const { violations } = await globalThis.axe.run(within ?? document, { resultTypes: ["violations"], rules: { "target-size": { enabled: true } } });
    return violations;
  } finally {
    for (const { style } of over) style.position = "";
  }
}
