// The pages that the build makes of the guides: all are there, all links lead somewhere, and their code is the documents' own.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { guideFiles } from "../../tools/lib/guides.mjs";
import { documents } from "../../tools/lib/guides/documents.mjs";
import { highlighted } from "../../tools/lib/guides/highlight.mjs";
import { readMarkdown } from "../../tools/lib/guides/markdown.mjs";
import { paths } from "../../tools/lib/paths.mjs";
import { studio } from "../package/page-modules.mjs";
import { blocksOf } from "./blocks.mjs";

/** Bytes of all pictures together: what a clone of the repository and a copy of the page have to carry. */
const MOST_PICTURES = 1_500_000;

const all = documents();

/** What was built, by its address. */
const built = new Map(
  readdirSync(join(paths.dist, "guides"), { recursive: true })
    .filter((name) => /\.(html|json)$/.test(name))
    .map((name) => [`guides/${name}`, readFileSync(join(paths.dist, "guides", name), "utf8")]),
);
const pages = [...built].filter(([name]) => name.endsWith(".html"));

const ENTITIES = { "&lt;": "<", "&gt;": ">", "&quot;": '"', "&#39;": "'", "&amp;": "&" };
const textOf = (html) => html.replace(/<[^>]*>/g, "").replace(/&(?:lt|gt|quot|#39|amp);/g, (entity) => ENTITIES[entity]);
const all_matches = (text, pattern) => [...text.matchAll(pattern)].map(([, found]) => found);

test("every guide and API page is built, and what was built is what the documents say now", () => {
  const expected = ["guides", "api"].flatMap((folder) => readdirSync(join(paths.root, "docs", folder)).map((name) => `docs/${folder}/${name}`));
  assert.deepEqual(expected.filter((file) => !all.some((document) => document.file === file)), []);
  assert.deepEqual(all.filter(({ theme }) => theme === "More guides").map(({ file }) => file), [], "a guide has no theme in tools/lib/guides/documents.mjs");
  const made = guideFiles("{{article}}").filter(({ fileName }) => !fileName.endsWith(".webp"));
  assert.deepEqual([...built.keys()].sort(), made.map(({ fileName }) => fileName).sort());
  for (const { fileName, source } of made) assert.ok(built.get(fileName).includes(source), `${fileName} is stale`);
});

test("each page has one title, its language and its landmarks, and nothing that its policy forbids", () => {
  for (const [name, html] of pages) {
    assert.equal(all_matches(html, /(<h1>)/g).length, 1, name);
    assert.match(html, /<html lang="en">/);
    for (const landmark of ["<header", "<nav", "<search>", "<main id=\"text\"", 'href="#text"']) assert.ok(html.includes(landmark), `${name}: ${landmark}`);
    assert.match(html, /http-equiv="Content-Security-Policy"/);
    assert.doesNotMatch(html, /<style|<[^>]*\sstyle=|<script(?![^>]*\ssrc=")|<[^>]*\son\w+=|="\s*(?:javascript|data):/i, name);
    assert.doesNotMatch(html.replace(/<code>[^]*?<\/code>/g, ""), /\{\{/, name);
  }
});

test("all links and anchors lead somewhere", () => {
  const ids = new Map(pages.map(([name, html]) => [name, new Set(all_matches(html, /\sid="([^"]*)"/g))]));
  for (const [name, html] of pages) {
    assert.equal(ids.get(name).size, all_matches(html, /\sid="([^"]*)"/g).length, `${name}: an anchor is there twice`);
    for (const href of all_matches(html, /\s(?:href|src|data-index)="([^"]*)"/g)) {
      if (/^https:/.test(href)) continue;
      const { pathname, hash } = new URL(href, `http://host/${name}`);
      const file = pathname.slice(1) || "index.html";
      assert.ok(existsSync(join(paths.dist, file)), `${name}: ${href}`);
      // The places of the page itself are made by its scripts.
      if (hash && file !== "index.html") assert.ok(ids.get(file).has(hash.slice(1)), `${name}: ${href}`);
    }
  }
});

test("pictures are the documents' own, have their place before they have come, and are not kept for reading without a network", () => {
  const pictures = guideFiles("{{article}}").filter(({ fileName }) => fileName.endsWith(".webp"));
  const tour = readdirSync(join(paths.root, "docs/tour")).map((name) => `guides/tour/${name}`);
  assert.deepEqual(pictures.map(({ fileName }) => fileName).sort(), tour.sort(), "all that lie there are shown");
  for (const { fileName, source } of pictures) assert.ok(source.equals(readFileSync(join(paths.dist, fileName))), `${fileName} is stale`);
  const bytes = pictures.reduce((sum, { source }) => sum + source.length, 0);
  assert.ok(bytes < MOST_PICTURES, `${bytes} bytes of pictures`);
  const shown = [...built.get("guides/tour.html").matchAll(/<img src="(tour\/[\w-]+\.webp)" alt="([^"]{10,})" width="(\d+)" height="(\d+)" loading="lazy"/g)];
  assert.equal(shown.length, pictures.length, "each is shown once, with its words");
  for (const [, address, , ...size] of shown) assert.deepEqual(size.map(Number), address.endsWith("-phone.webp") ? [390, 844] : [1280, 900], address);
  assert.doesNotMatch(readFileSync(join(paths.dist, "service-worker.js"), "utf8"), /\.webp/);
});

test("a picture from elsewhere, or that is none, is its words", () => {
  const readPicture = (file) => (file === "docs/a.webp" ? { bytes: Buffer.from("x"), width: 2, height: 1 } : undefined);
  const text = '# A\n\n![my "own"](../a.webp)\n![gone](b.webp)\n\n![far](https://host/a.webp) ![up](../../../a.webp)';
  const given = [{ file: "docs/guides/a.md", page: "guides/a.html", theme: "T", about: "", is_tested: false, text }];
  const files = guideFiles("{{article}}", { documents: given, introduction: "Hello.", readPicture });
  const { source } = files.find(({ fileName }) => fileName === "guides/a.html");
  const own = '<a href="a.webp"><img src="a.webp" alt="my &quot;own&quot;" width="2" height="1" loading="lazy" decoding="async" /></a>';
  assert.ok(source.includes(`<p class="pictures">${own}\ngone</p>\n<p class="pictures">far up</p>`), source);
  assert.deepEqual(files.filter(({ fileName }) => fileName.endsWith(".webp")).map(({ fileName }) => fileName), ["guides/a.webp"]);
});

test("code is the documents', character for character", () => {
  for (const { file, page } of all) {
    const shown = all_matches(built.get(page), /<div class="code"><pre><code>([^]*?)<\/code>/g).map(textOf);
    const written = blocksOf(file);
    if (written.every(({ language }) => language)) assert.deepEqual(shown, written.map(({ text }) => text.replace(/\n$/, "")), file);
    // Blocks by indentation, which no guide has, are told line by line there.
    else for (const { text } of written) assert.ok(shown.join("\n").includes(text.replace(/^ {4}/, "")), `${file}: ${text}`);
    const promises = built.get(page).includes("is run as a test");
    assert.equal(promises, file.startsWith("docs/guides/"), file);
  }
});

test("colouring tells kinds apart and loses nothing", () => {
  const kinds = (code, language) => all_matches(highlighted(code, language), /<span class="t-(\w+)">/g);
  assert.deepEqual(kinds('const a = /"/.test("x // y"); // z', "js"), ["keyword", "string", "string", "comment"]);
  assert.deepEqual(kinds("options.from = 4 / 2 / 1;", "ts"), ["number", "number", "number"]);
  assert.deepEqual(kinds('{"a": "b", "c": -1e5, "d": null}', "json"), ["name", "string", "name", "number", "name", "keyword"]);
  assert.deepEqual(kinds("npx vite build --outDir x # so", "sh"), ["keyword", "name", "comment"]);
  assert.deepEqual(kinds('<p id="x">let</p><script>let a;</script>', "html"), ["keyword", "name", "string", "keyword", "keyword", "keyword", "keyword", "keyword", "keyword", "keyword", "keyword"]);
  for (const language of ["js", "ts", "json", "jsonl", "http", "sh", "html", "csv", undefined]) {
    const hostile = 'a < b && "</code><script>alert(1)</script>" /* `${x} \\" \n\'';
    assert.equal(textOf(highlighted(hostile, language)), hostile);
    assert.doesNotMatch(highlighted(hostile, language), /<(?!\/?span)/);
  }
});

test("hostile Markdown is text", () => {
  const hostile = [
    "# T <script>alert(1)</script>",
    '<img src=x onerror="alert(1)">',
    "<pre>\n<b>bold</b>\n</pre>",
    "[one](javascript:alert(1)) [two](JAVASCRIPT:alert(2)) [three](data:text/html,x) ![four](https://evil.example/x.png)",
    '[five](https://a.example/"onmouseover="alert(5)) <style>*{}</style>',
    "| a |\n| --- |\n| <svg onload=alert(6)> |",
    "```\"><script>\n</code><script>alert(7)</script>\n```",
  ].join("\n\n");
  const { html, title } = readMarkdown(hostile, (href) => (/^https:/.test(href) ? href : undefined));
  assert.equal(title, "T <script>alert(1)</script>");
  const tags = new Set(all_matches(html, /<\/?([a-z]\w*)/gi));
  assert.deepEqual([...tags].filter((tag) => !["h1", "p", "a", "div", "table", "thead", "tbody", "tr", "th", "td", "pre", "code"].includes(tag)), []);
  assert.doesNotMatch(html, /<[^>]*\son\w+=/);
  assert.match(html, /<p>&lt;img src=x onerror=/);
  assert.equal(all_matches(html, /<a href="([^"]*)"/g).length, 1);
});

test("a link to what is no page leads to the repository where it is known, and is text where not", () => {
  const given = [{ file: "docs/a.md", page: "guides/a.html", theme: "T", about: "", is_tested: false, text: "# A\n\n[code](../src/lib.rs#L1), [out](../../x), [here](#a)" }];
  const page = (repository) => guideFiles("{{article}}", { documents: given, introduction: "Hello.", repository }).find(({ fileName }) => fileName === "guides/a.html").source;
  assert.match(page(undefined), /<p>code, out, <a href="#a">here<\/a><\/p>/);
  assert.match(page("https://host/repo"), /<p><a href="https:\/\/host\/repo\/blob\/main\/src\/lib.rs#L1">code<\/a>, out,/);
});

test("the search finds titles, headings and text, best first", async () => {
  const { find } = await studio("guides/search.ts");
  const searched = JSON.parse(built.get("guides/search.json"));
  const first = (query) => find(searched, query)[0];
  assert.equal(first("trainconfig").address, "api/types.html#trainconfig");
  assert.equal(first("webpack").address, "webpack.html");
  assert.equal(first("cross-origin isolation").address, "csp-and-headers.html#cross-origin-isolation");
  const found = first("importmap html");
  assert.ok(found.excerpt.some(({ is_hit }) => is_hit));
  assert.ok(found.excerpt.map(({ text }) => text).join("").length < 200);
  assert.deepEqual(find(searched, "zebra crossing"), []);
  assert.deepEqual(find(searched, "  ? "), []);
  assert.deepEqual(find(searched, "(.*)+ \\"), []);
  for (const { page, sections } of searched) {
    for (const { anchor } of sections) assert.ok(!anchor || built.get(`guides/${page}`).includes(` id="${anchor}"`), `${page}#${anchor}`);
  }
});
