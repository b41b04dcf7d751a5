// The guides as a reader uses them: on a desktop and on a phone.
import assert from "node:assert/strict";
import { test } from "node:test";
import { launch } from "../../tools/lib/chromium.mjs";
import { paths } from "../../tools/lib/paths.mjs";
import { serve } from "../../tools/lib/server.mjs";
import { seriousIn } from "./axe.mjs";
import { visitorOf } from "./visitor.mjs";

test("the guides are read, searched and copied from", async (t) => {
  const server = await serve({ "/": paths.dist });
  const browser = await launch({ gpu: "none" });
  t.after(async () => {
    await browser.close();
    await server.close();
  });
  const page = await browser.newPage();
  const { complaints, tooWide } = visitorOf(page);
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"], { origin: server.origin });

  await t.test("at a desk: the search leads to a heading, code is copied, and the next page follows", async () => {
    await page.setViewportSize({ width: 1280, height: 900 });
    await page.emulateMedia({ colorScheme: "light" });
    await page.goto(`${server.origin}/guides/`);
    assert.ok(!server.requests.includes("/guides/search.json"), "what is searched is asked for when somebody searches");
    await page.getByRole("searchbox", { name: "Search the guides" }).fill("save the adapter");
    const hit = page.locator("#found").getByRole("link", { name: "Your first fine-tune: 6. Save the adapter" });
    await hit.waitFor();
    assert.match(await page.locator("#count").textContent(), /places/);
    assert.deepEqual(await seriousIn(page), []);
    await hit.click();
    await page.waitForURL(/\/guides\/first-fine-tune\.html#6-save-the-adapter$/);
    const block = page.locator(".code").filter({ hasText: "trainer.save()" }).first();
    await block.getByRole("button", { name: "Copy this code" }).click();
    await page.locator("#copied", { hasText: "Copied" }).waitFor();
    assert.equal(await page.evaluate(() => navigator.clipboard.readText()), await block.locator("code").textContent());
    assert.ok(await page.getByRole("navigation", { name: "All guides" }).getByRole("link", { name: "CSP and headers" }).isVisible(), "the list is open");
    await page.getByRole("link", { name: "Next: Your own data" }).click();
    await page.getByRole("heading", { level: 1, name: "Your own data" }).waitFor();
  });

  await t.test("on a phone: the list is folded, tables scroll by themselves, and the keyboard reaches them", async () => {
    await page.setViewportSize({ width: 390, height: 844 });
    await page.emulateMedia({ colorScheme: "dark" });
    await page.goto(`${server.origin}/guides/what-happens-when.html`);
    const list = page.getByRole("navigation", { name: "All guides" });
    const link = list.getByRole("link", { name: "TabtuneError" });
    assert.ok(!(await link.isVisible()));
    assert.equal(await tooWide(), 0);
    assert.equal(await page.locator(".wide").first().getAttribute("tabindex"), "0");
    assert.deepEqual(await seriousIn(page), []);
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    assert.equal(await page.evaluate(() => document.activeElement.id), "text", "the first stop skips to the text");
    await list.getByText("All guides").click();
    await link.click();
    await page.getByRole("heading", { level: 1, name: "TabtuneError" }).waitFor();
    await page.setViewportSize({ width: 320, height: 640 });
    assert.equal(await tooWide(), 0);
    await page.getByRole("navigation", { name: "Places" }).getByRole("link", { name: "Train" }).click();
    await page.waitForURL(`${server.origin}/#train`);
  });

  assert.deepEqual(complaints, []);
});
