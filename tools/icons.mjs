// Draws the page's icon in the sizes that installed apps need, from its SVG: node tools/icons.mjs
// Systems cut a maskable icon to a shape of their own, so in that one the colour reaches the edges and the drawing stays
// within the middle four fifths. Apple's systems round the corners of theirs themselves, and show what is clear as black.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { launch } from "./lib/chromium.mjs";
import { paths } from "./lib/paths.mjs";

const home = join(paths.root, "www/studio/public");
const folder = join(home, "icons");
const ICONS = [
  { name: "icon-192.png", size: 192 },
  { name: "icon-512.png", size: 512 },
  { name: "maskable-512.png", size: 512, inner: 0.8 },
  { name: "apple-touch-icon.png", size: 180, inner: 0.88 },
];

const svg = readFileSync(join(home, "icon.svg"), "utf8");
const color = /<rect [^>]*fill="([^"]+)"/.exec(svg)[1];

mkdirSync(folder, { recursive: true });
const browser = await launch({ gpu: "none" });
const page = await browser.newPage();
for (const { name, size, inner } of ICONS) {
  await page.setViewportSize({ width: size, height: size });
  const drawn = svg.replace("<svg ", `<svg width="${size * (inner ?? 1)}" height="${size * (inner ?? 1)}" `);
  const background = inner === undefined ? "transparent" : color;
  const style = `margin: 0; height: 100vh; display: grid; place-items: center; background: ${background}`;
  await page.setContent(`<body style="${style}">${drawn}</body>`);
  writeFileSync(join(folder, name), await page.screenshot({ omitBackground: true }));
  console.log(join("www/studio/public/icons", name));
}
await browser.close();
