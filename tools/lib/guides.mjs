// Builds the pages of the guides and of the API from the documents, and what their search looks through.
import { dirname, posix } from "node:path";
import { documents, introduction, repository } from "./guides/documents.mjs";
import { escaped } from "./guides/highlight.mjs";
import { readMarkdown } from "./guides/markdown.mjs";
import { readPicture } from "./guides/pictures.mjs";

/** Where the pages begin, seen from the built page's folder. */
const INDEX = "guides/index.html";

/** What the search looks through. The pages of `template` name it. */
const SEARCHED = "guides/search.json";

const WELCOME = "How to use this page, and how to build your own on what it is made of. All of it can be read without a network, and searched.";

const TESTED = '<p class="tested">The code on this page is run as a test.</p>\n';

/**
 * All files of the guides, as { fileName, source } from the built page's folder on: one page a document, their index, their pictures,
 * and what is searched. `template` is the page around each of them, as it would stand in `guides/`, with its parts in double braces. Addresses in
 * it that begin with "../" are those of the built page's folder.
 */
export function guideFiles(template, from = { documents: documents(), introduction: introduction(), repository: repository(), readPicture }) {
  const pages = readAll(from);
  const index = indexPage(pages, from);
  const all = [index, ...pages];
  const files = all.map((page, at) => ({ fileName: page.page, source: filled(template, { page, pages, before: all[at - 1], after: all[at + 1] }) }));
  return [...files, ...picturesOf(pages), { fileName: SEARCHED, source: JSON.stringify(pages.map(searched)) }];
}

function readAll({ documents, repository, readPicture }) {
  const page_of = new Map(documents.map(({ file, page }) => [file, page]));
  return documents.map((document) => {
    const addressOf = (href) => pageAddress(href, { document, page_of, repository });
    const pictures = new Map();
    const pictureOf = (href) => {
      const file = posix.join(dirname(document.file), href);
      const picture = readPicture?.(file);
      if (!picture) return undefined;
      const fileName = file.replace(/^docs\//, "guides/");
      pictures.set(fileName, picture.bytes);
      return { ...picture, address: between(document.page, fileName) };
    };
    return { ...document, ...readMarkdown(document.text, addressOf, pictureOf), pictures };
  });
}

/** The pictures that pages show. They lie beside the pages as they lie beside the documents. */
function picturesOf(pages) {
  const all = new Map(pages.flatMap(({ pictures }) => [...pictures]));
  return [...all].map(([fileName, source]) => ({ fileName, source }));
}

/** Where a link of a document leads on its page: to another page, to the web, to the repository, or nowhere. */
function pageAddress(href, { document, page_of, repository }) {
  if (/^[a-z][\w+.-]*:/i.test(href)) return /^https:\/\//i.test(href) ? href : undefined;
  const [path, anchor] = href.split("#");
  const hash = anchor === undefined ? "" : `#${anchor}`;
  if (path === "") return hash;
  const file = posix.join(dirname(document.file), path);
  if (page_of.has(file)) return between(document.page, page_of.get(file)) + hash;
  return repository && !file.startsWith("..") ? `${repository}/blob/main/${file}${hash}` : undefined;
}

/** The address of one page, seen from another. */
const between = (from, to) => posix.relative(dirname(from), to);

/** The pages by theme, in their order: { theme, pages }. */
function byTheme(pages) {
  const themes = [...new Set(pages.map(({ theme }) => theme))];
  return themes.map((theme) => ({ theme, pages: pages.filter((page) => page.theme === theme) }));
}

function indexPage(pages, { introduction }) {
  const { title, html } = readMarkdown(`# Guides\n\n${WELCOME}\n\n${introduction}`, () => undefined);
  const lists = byTheme(pages).map(({ theme, pages }) => {
    const items = pages.map(({ page, title, about }) => `<li><a href="${between(INDEX, page)}">${escaped(title)}</a><p>${escaped(about)}</p></li>`);
    return `<section><h2>${escaped(theme)}</h2><ul>${items.join("")}</ul></section>`;
  });
  return { page: INDEX, title, headings: [], html: `${html}<div class="themes">${lists.join("\n")}</div>` };
}

/** The template with a page in it. */
function filled(template, { page, pages, before, after }) {
  const parts = {
    title: escaped(page.title),
    contents: contents(page, pages),
    article: page.is_tested ? page.html.replace("</h1>\n", (end) => end + TESTED) : page.html,
    turning: turning(page, { before, after }),
  };
  const depth = page.page.split("/").length - 1;
  const placed = template.replaceAll('="../', `="${"../".repeat(depth)}`);
  return placed.replace(/\{\{(\w+)\}\}/g, (_, part) => parts[part]);
}

/** The list of all pages, with the headings of the one that is open. */
function contents(page, pages) {
  const item = (other) => {
    const here = other === page;
    const headings = here && page.headings.length > 0 ? `<ul>${page.headings.map(headingItem).join("")}</ul>` : "";
    return `<li><a href="${between(page.page, other.page)}"${here ? ' aria-current="page"' : ""}>${escaped(other.title)}</a>${headings}</li>`;
  };
  const lists = byTheme(pages).map(({ theme, pages }) => `<li><span>${escaped(theme)}</span><ul>${pages.map(item).join("")}</ul></li>`);
  return `<ul>${lists.join("\n")}</ul>`;
}

const headingItem = ({ anchor, words }) => `<li><a href="#${anchor}">${escaped(words)}</a></li>`;

/** The links to the pages before and after. */
function turning(page, { before, after }) {
  const link = (other, rel, words) =>
    other ? `<a href="${between(page.page, other.page)}" rel="${rel}"><span>${words}</span> ${escaped(other.title)}</a>` : "";
  return link(before, "prev", "Before:") + link(after, "next", "Next:");
}

/** What is searched of a page, with its address from the folder of the guides on. */
const searched = ({ page, title, theme, sections }) => ({ page: between(INDEX, page), title, theme, sections });
