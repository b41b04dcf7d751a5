// Writes docs/api: what the package exports, from its declarations and doc comments.
//
//   node tools/api-pages.mjs    writes the pages
//
// typedoc needs the compiler as a JavaScript library, which TypeScript 7 no longer is. The package has few
// names, and each carries its types, so its syntax tree is all that is needed.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseAst } from "rolldown/parseAst";
import { paths } from "./lib/paths.mjs";

const home = join(paths.root, "www/package");
const target = join(paths.root, "docs/api");

/** What is imported from, with its file. The first one's names have pages by kind; each other one has a page for all of its own. */
const ENTRIES = [
  { entry: "tabtune", path: "index.ts" },
  { entry: "tabtune/federated", path: "federated.ts", page: "federated.md" },
  { entry: "tabtune/exchange", path: "exchange/index.ts", page: "exchange.md" },
];

/** One file as { text, body }, read once. */
const files = new Map();
function fileAt(path) {
  if (!files.has(path)) {
    const text = readFileSync(join(home, path), "utf8");
    files.set(path, { path, text, body: parseAst(text, { lang: "ts" }).body });
  }
  return files.get(path);
}

const pathOf = (from, source) => join(from, "..", source.replace(/\.js$/, ".ts"));

/** Every exported name of a file with its declaration: { name, node, file, doc }, in the file's order. */
function exportsOf(path) {
  const file = fileAt(path);
  return file.body.flatMap((node) => {
    if (node.type === "ExportAllDeclaration") return exportsOf(pathOf(path, node.source.value));
    if (node.type !== "ExportNamedDeclaration") return [];
    if (!node.declaration) {
      return node.specifiers.map(({ local, exported }) => {
        const found = exportsOf(pathOf(path, node.source.value)).find(({ name }) => name === local.name);
        if (!found) throw new Error(`${path}: ${local.name} was not found in ${node.source.value}`);
        return { ...found, name: exported.name };
      });
    }
    const doc = docBefore(file, node.start);
    const { declaration } = node;
    if (declaration.type !== "VariableDeclaration") return [{ name: declaration.id.name, node: declaration, file, doc }];
    return declaration.declarations.map((node) => ({ name: node.id.name, node, file, doc }));
  });
}

/** The text of the doc comment that ends where something begins, without its stars. */
function docBefore({ text }, start) {
  const before = text.slice(0, start).trimEnd();
  const begin = before.lastIndexOf("/**");
  if (!before.endsWith("*/") || before.indexOf("*/", begin) !== before.length - 2) return "";
  return before.slice(begin + 3, -2).split("\n").map((line) => line.replace(/^\s*\* ?/, "").trimEnd()).join("\n").trim();
}

// ---- how things are written ------------------------------------------------------------------------

const CLASS_PAGES = {
  ...{ Dataset: "dataset.md", Trainer: "trainer.md", TabtuneError: "tabtune-error.md" },
  ...{ Federation: "federation.md", Shelf: "shelf.md" },
};

/** Name → the address of its section, seen from a page of docs/api. */
const sections = new Map();

/** The anchor that a heading has. */
export const anchorOf = (heading) => heading.toLowerCase().replace(/[^\w\- ]/g, "").replaceAll(" ", "-");

function linked(name) {
  // What an interface has stands in a table under its name.
  const address = sections.get(name) ?? sections.get(/^(\w+)\.\w+$/.exec(name)?.[1]);
  if (!address) throw new Error(`{@link ${name}} leads nowhere`);
  return `[${name}](${address})`;
}

/** A doc comment as Markdown; its single line breaks mean nothing. */
function prose(doc) {
  return doc
    .split(/\n\n+/)
    .map((paragraph) => paragraph.replaceAll("\n", " ").replace(/\{@link ([\w.]+)\}/g, (_, name) => linked(name)))
    .join("\n\n");
}

/** The links to the exported types that some code names. */
function mentioned(code, except) {
  const names = [...new Set(code.match(/\b[A-Z]\w+/g) ?? [])];
  return names.filter((name) => sections.has(name) && name !== except).map((name) => `[${name}](${sections.get(name)})`);
}

const source = ({ text }, node) => text.slice(node.start, node.end);

/** A type in one line, for a table. */
const cell = (text) => text.replace(/\s+/g, " ").replaceAll("|", "\\|");

function parameter(file, node) {
  if (node.type !== "AssignmentPattern") return source(file, node);
  // What has a default may be left out, and what it is then is for the description to say.
  const { name, typeAnnotation } = node.left;
  const type = typeAnnotation ? source(file, typeAnnotation) : `: ${typeof node.right.value}`;
  return `${name}?${type}`;
}

function signature(file, name, { params, returnType }) {
  const list = params.map((node) => parameter(file, node).replace(/\s+/g, " "));
  const returns = returnType ? source(file, returnType) : "";
  const line = `${name}(${list.join(", ")})${returns}`;
  return line.length <= 100 ? line : `${name}(\n${list.map((item) => `  ${item},\n`).join("")})${returns}`;
}

function callable(file, { name, shown, value, doc }, level) {
  const code = signature(file, shown, value);
  const types = mentioned(code, shown.split(".")[0]);
  return [
    `${"#".repeat(level)} ${name}`,
    "```ts\n" + code + "\n```",
    prose(doc),
    types.length > 0 ? `Types: ${types.join(", ")}` : "",
  ];
}

/** The members of a class that a caller may use: those with a computed name are for other modules of the package. */
function membersOf({ node, file }) {
  return node.body.body
    .filter(({ key, computed, accessibility, override }) => key.type === "Identifier" && !computed && accessibility !== "private" && !override)
    .filter(({ kind, static: is_static }) => kind !== "constructor" || is_static)
    .map((member) => ({ member, name: member.key.name, doc: docBefore(file, member.start) }));
}

const methodName = (type, { member, name }) => (member.static ? `${type}.${name}` : name);

function propertyTable(file, members) {
  if (members.length === 0) return [];
  const rows = members.flatMap((member) => propertyRows(file, member, ""));
  return [["| name | type | meaning |", "| --- | --- | --- |", ...rows].join("\n")];
}

/** A row for a property, and one for each of the properties of its type where that has no name of its own. */
function propertyRows(file, { node, doc }, prefix) {
  const key = node.type === "TSIndexSignature" ? `[${node.parameters.map((one) => source(file, one))}]` : node.key.name;
  const name = `${prefix}${key}${node.optional ? "?" : ""}`;
  const type = (node.typeAnnotation ?? node.value?.returnType)?.typeAnnotation;
  const is_list = type?.type === "TSArrayType";
  const inner = is_list ? type.elementType : type;
  if (inner?.type === "TSTypeLiteral") {
    const nested = inner.members.map((node) => ({ node, doc: docBefore(file, node.start) }));
    const below = nested.flatMap((member) => propertyRows(file, member, `${name}${is_list ? "[]" : ""}.`));
    return [tableRow(name, is_list ? "object[]" : "object", prose(doc)), ...below];
  }
  const is_method = node.type === "TSMethodSignature";
  const code = is_method ? signature(file, "", node).replace(/\s+/g, " ") : type ? source(file, type) : typeof node.value.value;
  const types = mentioned(code);
  return [tableRow(name, code, [prose(doc), types.length > 0 ? `See ${types.join(", ")}.` : ""].filter(Boolean).join(" "))];
}

const tableRow = (name, type, told) => `| \`${name}\` | \`${cell(type)}\` | ${cell(told)} |`.replace(/ {2}\|$/, " |");

const isProperty = ({ type, kind }) => type === "PropertyDefinition" || kind === "get";

function classPage(exported) {
  const { name, node, file, doc, entry } = exported;
  const members = membersOf(exported);
  const properties = members.filter(({ member }) => isProperty(member));
  const methods = members.filter(({ member }) => !isProperty(member));
  methods.sort((a, b) => Number(b.member.static) - Number(a.member.static));
  const extended = node.superClass ? `It is an \`${source(file, node.superClass)}\`, with its \`message\`.` : "";
  return [
    `# ${name}`,
    "```js\nimport { " + name + ` } from "${entry}";\n` + "```",
    prose(doc),
    extended,
    ...(properties.length > 0 ? ["## Properties"] : []),
    ...propertyTable(file, properties.map(({ member, doc }) => ({ node: member, doc }))),
    ...(methods.length > 0 ? ["## Methods"] : []),
    ...methods.flatMap((method) => {
      const shown = methodName(name, method);
      return callable(file, { name: shown, shown, value: method.member.value, doc: method.doc }, 3);
    }),
  ];
}

function typeSection({ name, node, file, doc }) {
  const parts = [`## ${name}`, prose(doc)];
  if (node.type === "TSTypeAliasDeclaration") {
    const code = source(file, node).replace(/;$/, "");
    const types = mentioned(code, name);
    return [...parts, "```ts\n" + code + "\n```", types.length > 0 ? `Types: ${types.join(", ")}` : ""];
  }
  const parents = node.extends.map((parent) => parentOf(source(file, parent)));
  if (parents.length > 0) parts.push(`Has all of ${parents.join(" and ")} too.`);
  return [...parts, ...propertyTable(file, node.body.body.map((node) => ({ node, doc: docBefore(file, node.start) })))];
}

/** A type that another one has all of: by its link, or where it is part of one, as it is written with the links that it names. */
function parentOf(code) {
  if (sections.has(code)) return linked(code);
  const types = mentioned(code);
  return `\`${code}\`${types.length > 0 ? ` (${types.join(", ")})` : ""}`;
}

function constantSection({ name, node, file, doc }) {
  return [`## ${name}`, "```ts\nconst " + source(file, node.id) + "\n```", prose(doc)];
}

const page = (parts) => `${parts.filter(Boolean).join("\n\n")}\n`;

/** What the entries export, each name where it is exported first: with its entry, its page and its kind. */
function allExports() {
  const seen = new Set();
  return ENTRIES.flatMap(({ entry, path, page }) =>
    exportsOf(path)
      .filter(({ name }) => !seen.has(name) && seen.add(name))
      .map((exported) => ({ ...exported, entry, page, kind: KINDS[exported.node.type] })),
  );
}

const KINDS = {
  ClassDeclaration: "class",
  FunctionDeclaration: "function",
  VariableDeclarator: "constant",
  TSInterfaceDeclaration: "type",
  TSTypeAliasDeclaration: "type",
};

/** Where an export is told of, seen from docs/api. */
function addressOf({ name, kind, page }) {
  if (kind === "class") return CLASS_PAGES[name];
  return `${page ?? (kind === "type" ? "types.md" : "functions.md")}#${anchorOf(name)}`;
}

function sectionOf({ name, node, file, doc, kind }) {
  return kind === "function" ? callable(file, { name, shown: name, value: node, doc }, 2) : constantSection({ name, node, file, doc });
}

/** The pages of docs/api by name. */
export function apiPages() {
  files.clear();
  sections.clear();
  const all = allExports().sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const exported of all) {
    const address = exported.kind && addressOf(exported);
    if (!address) throw new Error(`${exported.name} is exported, and has no place in docs/api`);
    sections.set(exported.name, address);
    if (exported.kind !== "class") continue;
    for (const member of membersOf(exported)) {
      const heading = isProperty(member.member) ? "Properties" : methodName(exported.name, member);
      sections.set(`${exported.name}.${member.name}`, `${address}#${anchorOf(heading)}`);
    }
  }
  const of = (entry, ...kinds) => all.filter((exported) => exported.entry === entry && kinds.includes(exported.kind));
  const list = (exported) =>
    exported.map(({ name, doc }) => `- [${name}](${sections.get(name)}): ${prose(doc.split("\n\n")[0]) || "see there."}`).join("\n");
  const listed = (types) => types.map(({ name }) => `[${name}](${sections.get(name)})`).join(", ");
  const [main, ...others] = ENTRIES.map(({ entry }) => entry);
  const pages = {
    "README.md": [
      "# API",
      "Everything that the package exports. The [guides](../guides/first-fine-tune.md) show it at work.",
      "These pages come from the declarations and their comments: `./build.sh docs` writes them.",
      "## Classes",
      list(of(main, "class")),
      "## Functions and constants",
      list([...of(main, "function"), ...of(main, "constant")]),
      "## Types",
      listed(of(main, "type")),
      ...others.flatMap((entry) => [
        `## ${entry}`,
        headOf(entry),
        list(of(entry, "class", "function", "constant")),
        listed(of(entry, "type")),
      ]),
    ],
    "functions.md": ["# Functions and constants", ...of(main, "function").flatMap(sectionOf), ...of(main, "constant").flatMap(sectionOf)],
    "types.md": ["# Types", ...of(main, "type").flatMap(typeSection)],
  };
  for (const { entry, page } of ENTRIES.slice(1)) {
    pages[page] = [
      `# ${entry}`,
      `${headOf(entry)} All of it is imported from \`${entry}\`.`,
      list(of(entry, "class")),
      ...of(entry, "function").flatMap(sectionOf),
      ...of(entry, "constant").flatMap(sectionOf),
      ...of(entry, "type").flatMap(typeSection),
    ];
  }
  for (const exported of all.filter(({ kind }) => kind === "class")) pages[CLASS_PAGES[exported.name]] = classPage(exported);
  return Object.fromEntries(Object.entries(pages).map(([name, parts]) => [name, page(parts)]));
}

/** What the file of an entry says of itself: the comment that it begins with. */
function headOf(entry) {
  const { text } = fileAt(ENTRIES.find((other) => other.entry === entry).path);
  return prose(/^\/\*\* ([^]*?) \*\/\n/.exec(text)?.[1] ?? "");
}

/** The names that the package exports. */
export const exportedNames = () => allExports().map(({ name }) => name);

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const pages = apiPages();
  mkdirSync(target, { recursive: true });
  for (const name of readdirSync(target)) if (!(name in pages)) rmSync(join(target, name));
  for (const [name, text] of Object.entries(pages)) writeFileSync(join(target, name), text);
  console.log(`docs/api: ${Object.keys(pages).length} pages`);
}
