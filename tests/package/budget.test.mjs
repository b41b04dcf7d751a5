// How much the page is before a person sees it, and before it works: a budget that whatever is added has to keep.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { paths } from "../../tools/lib/paths.mjs";

/** Bytes after gzip of what the first sight waits for, beside pictures. A slow line brings it in half a second. */
const FIRST_SIGHT = 100_000;

/** Bytes after gzip until the page can be used: all of the above, and the code of its places with the package's half for pages. */
const USABLE = 200_000;

const read = (path) => readFileSync(join(paths.dist, path), "utf8");
const packed = (files) => [...files].reduce((sum, path) => sum + gzipSync(read(path)).length, 0);

/** What the page's own HTML loads at once: styles, scripts, and what is fetched ahead. */
function loadedAtOnce(html) {
  const tags = html.match(/<(?:script|link)\b[^>]*>/g);
  const loading = tags.filter((tag) => /^<script|rel="(?:stylesheet|modulepreload)"/.test(tag));
  return loading.map((tag) => /(?:src|href)="\.\/([^"]+)"/.exec(tag)[1]);
}

const STATIC = /\b(?:import|export)\b(?:[^"'`()]*?\bfrom)?\s*(["'`])(\.\/[\w.-]+\.js)\1/g;
const DYNAMIC = /\bimport\((["'`])(\.\/[\w.-]+\.js)\1\)/g;

/** What a script imports in that way. */
const importsOf = (path, pattern) => [...read(path).matchAll(pattern)].map(([, , to]) => posix.join(posix.dirname(path), to));

/** Scripts with all that has to be there before they run. */
function withImports(scripts) {
  const all = new Set();
  const add = (path) => {
    if (all.has(path)) return;
    all.add(path);
    importsOf(path, STATIC).forEach(add);
  };
  scripts.forEach(add);
  return all;
}

test("the first sight of the page is small, and so is what makes it work", (t) => {
  const html = read("index.html");
  const at_once = loadedAtOnce(html);
  const scripts = at_once.filter((path) => path.endsWith(".js"));
  assert.ok(scripts.length > 0 && at_once.length > scripts.length, "the page has scripts and styles");

  const first = new Set(["index.html", ...at_once, ...withImports(scripts)]);
  t.diagnostic(`first sight: ${packed(first)} bytes of at most ${FIRST_SIGHT}`);
  assert.ok(packed(first) < FIRST_SIGHT, [...first].join("\n"));

  const [entry] = scripts;
  const [main] = importsOf(entry, DYNAMIC);
  assert.ok(main, "the first script fetches the rest");
  assert.ok(!first.has(main), "the first sight does not wait for the rest");
  const usable = new Set([...first, ...withImports([main])]);
  t.diagnostic(`usable: ${packed(usable)} bytes of at most ${USABLE}`);
  assert.ok(packed(usable) < USABLE, [...usable].join("\n"));
});

test("the page shows itself before any script has run", () => {
  const body = read("index.html").replace(/^[^]*<body>/, "");
  const home = /<section[^>]*data-place="home"[^]*?<\/section>/.exec(body)?.[0];
  assert.ok(home && !/^<section[^>]*\bhidden\b/.test(home), "the place that a person comes to is shown");
  assert.match(home, /<h2/);
  assert.doesNotMatch(body, /<script(?![^>]*type="module")/, "no script holds up what follows it");
});
