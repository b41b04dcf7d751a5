// The code blocks of a Markdown file, and how those in JavaScript become modules that share their names.
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { parseAst } from "rolldown/parseAst";
import { paths } from "../../tools/lib/paths.mjs";

/**
 * The code blocks of a file, or of one section of it, in order: { language, text, line, name }. `line` is the
 * one of the fence. A block has a name if the line before it is one in backticks with a colon, as "`main.js`:".
 */
export function blocksOf(file, section) {
  const blocks = [];
  let heading;
  let open;
  /** The last line with text, outside of blocks, and whether a blank one follows it. */
  let above = "";
  let is_apart = true;
  for (const [index, line] of readFileSync(join(paths.root, file), "utf8").split("\n").entries()) {
    if (open) {
      if (line.trimEnd() !== open.fence) {
        open.text += `${line}\n`;
        continue;
      }
      blocks.push(open);
      open = undefined;
      above = "";
      continue;
    }
    heading = /^## (.*)/.exec(line)?.[1] ?? heading;
    if (section !== undefined && heading !== section) continue;
    const fence = /^ *(`{3,}|~{3,}) *(\S*)/.exec(line);
    if (fence) {
      const name = /^`([^`]+)`:$/.exec(above)?.[1];
      open = { file, fence: fence[1], language: fence[2], line: index + 1, name, text: "" };
    } else if (/^( {4}|\t)/.test(line) && is_apart && !/^([-*]|\d+\.) /.test(above)) {
      // Blocks by indentation have no language, so nothing could tell how to run them.
      blocks.push({ file, language: "", line: index + 1, name: undefined, text: line });
    }
    is_apart = line.trim() === "";
    if (!is_apart && !fence) above = line;
  }
  if (open) throw new Error(`${file}:${open.line}: the block has no end`);
  return blocks;
}

export const isScript = ({ language, name }) => name === undefined && (language === "js" || language === "ts");

/** The names that a module's top level has. */
function declared(body) {
  const named = (pattern) => {
    switch (pattern.type) {
      case "Identifier":
        return [pattern.name];
      case "ObjectPattern":
        return pattern.properties.flatMap((property) => named(property.argument ?? property.value));
      case "ArrayPattern":
        return pattern.elements.filter(Boolean).flatMap(named);
      case "AssignmentPattern":
        return named(pattern.left);
      case "RestElement":
        return named(pattern.argument);
      default:
        throw new Error(`a declaration of type ${pattern.type}`);
    }
  };
  return body.flatMap((node) => {
    if (node.type === "VariableDeclaration") return node.declarations.flatMap(({ id }) => named(id));
    if (node.type === "FunctionDeclaration" || node.type === "ClassDeclaration") return [node.id.name];
    if (node.type !== "ImportDeclaration" || node.importKind === "type") return [];
    return node.specifiers.filter(({ importKind }) => importKind !== "type").map(({ local }) => local.name);
  });
}

/**
 * Turns scripts of one page into modules: each gives away what it declares, and takes from those before it what
 * it names. Adds `module` (the file's name), `needs` (the modules that it takes from) and `code` to each block. What
 * is added stands on the lines of the block's own first and last, so that line numbers stay.
 */
export function linkBlocks(blocks) {
  const known = new Map();
  return blocks.map((block) => {
    const { body } = parseAst(block.text, { lang: block.language, sourceType: "module" });
    const own = declared(body);
    const words = new Set(block.text.match(/[\w$]+/g));
    const module = `${basename(block.file)}.L${block.line}.${block.language}`;
    const imports = [...known].filter(([name]) => words.has(name) && !own.includes(name));
    const head = imports.map(([name, from]) => `import { ${name} } from "./${from.replace(/\.ts$/, ".js")}"; `).join("");
    for (const name of own) known.set(name, module);
    const needs = [...new Set(imports.map(([, from]) => from))];
    return { ...block, module, needs, code: `${head}${block.text}export { ${own.join(", ")} };\n` };
  });
}
