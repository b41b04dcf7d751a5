// Every relative link of the documentation leads somewhere, headings included.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { test } from "node:test";
import { anchorOf } from "../../tools/api-pages.mjs";
import { paths } from "../../tools/lib/paths.mjs";

const read = (file) => readFileSync(join(paths.root, file), "utf8");

/** Without code, in which brackets mean something else. */
const prose = (text) => text.replace(/^ *(`{3,}|~{3,}).*?^ *\1$/gms, "").replace(/`[^`\n]*`/g, "");

function anchors(file) {
  const text = read(file).replace(/^ *(`{3,}|~{3,}).*?^ *\1$/gms, "");
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading]) => anchorOf(heading.replace(/[`*]/g, "")));
}

function markdownBelow(folder) {
  return readdirSync(join(paths.root, folder), { recursive: true }).filter((name) => name.endsWith(".md")).map((name) => join(folder, name));
}

const EXAMPLES = readdirSync(join(paths.root, "examples")).map((name) => `examples/${name}/README.md`);
const FILES = ["README.md", "www/package/README.md", ...markdownBelow("docs"), ...EXAMPLES];

for (const file of FILES) {
  test(`links of ${file}`, () => {
    for (const [, target] of prose(read(file)).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [path, anchor] = target.split("#");
      const found = path === "" ? file : relative(paths.root, resolve(paths.root, dirname(file), path));
      assert.ok(!found.startsWith(".."), `${target} leads out of the repository`);
      assert.ok(existsSync(join(paths.root, found)), `${target} leads nowhere`);
      if (anchor !== undefined) assert.ok(anchors(found).includes(anchor), `${target}: there is no such heading`);
    }
  });
}

test("the package's README links to nothing in the repository, which is not beside it", () => {
  assert.doesNotMatch(prose(read("www/package/README.md")), /\]\((?!https:)/);
});

test("every guide is linked from the API pages' or another guide's text", () => {
  const all = FILES.filter((file) => !file.startsWith("www/")).map(read).join("\n");
  for (const name of readdirSync(join(paths.root, "docs/guides"))) assert.ok(all.includes(`${name})`) || all.includes(`${name}#`), name);
});
