// Which documents are pages of the guides, under which theme, and in which order they are read.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { paths } from "../paths.mjs";

/** The themes in the order in which a stranger needs them. Documents are in docs/, those of most themes in a folder of it. */
const THEMES = [
  { theme: "See it", folder: "", about: { tour: "The places of the page in pictures, at a desk and on a phone." } },
  {
    theme: "Begin",
    folder: "guides/",
    about: {
      "first-fine-tune": "Teach a small chat model two facts, ask it about them, and save the result.",
      "your-own-data": "Files, tables and chats as rows to learn from, and what to do about bad ones.",
      models: "Which models work, where they come from, and whether one fits.",
      "sizes-and-browsers": "What a visitor downloads, how much memory it takes, and which browsers can do it.",
    },
  },
  {
    theme: "Into your project",
    folder: "guides/",
    about: {
      vite: "With Vite 8, and with Vite 7.",
      webpack: "With webpack 5.",
      "script-tag": "Straight from a page, by an import map.",
      "csp-and-headers": "What a strict policy has to allow, and which headers let all cores compute.",
      "offline-and-install": "The page of this repository on a server of yours: what browsers keep of it, and how a new version comes.",
    },
  },
  { theme: "From a terminal", folder: "", about: { "command-line": "Train, and write results for other programs, without a page." } },
  {
    theme: "Train",
    folder: "guides/",
    about: {
      "memory-and-ways": "Five ways to train, and what each takes.",
      "full-fine-tuning": "When an adapter is not enough: every weight learns.",
      preferences: "From answers that are better or worse than others: DPO and its kin.",
      "teach-by-picking": "Pick the answer that you like, until the model answers like it.",
      "what-happens-when": "What a run does when the tab closes, the GPU is lost, the disk is full or the battery runs low.",
      errors: "What can go wrong, by its code, and what to do.",
    },
  },
  {
    theme: "Judge, and give away",
    folder: "guides/",
    about: {
      "chat-and-compare": "Talk to it in several turns, and let others answer beside it.",
      "better-or-not": "Whether a model got better at what you want of it, in numbers with intervals.",
      exports: "Files for transformers, llama.cpp and Ollama.",
      "exchange-adapters": "Pass adapters on, signed, and take what strangers pass on.",
      "keep-and-move": "What the browser keeps, what it takes, and all of it in one file for another browser.",
    },
  },
  {
    theme: "Learn together",
    folder: "guides/",
    about: {
      "learn-together": "Several people teach one model, each on rows that stay in their own browser.",
      "run-a-federation": "The server for that.",
    },
  },
  { theme: "API", folder: "api/", about: apiPages() },
  {
    theme: "Behind it",
    folder: "",
    about: {
      comparison: "This page, Unsloth Studio, AutoTrain, LLaMA Board, WebLLM Chat and Teachable Machine, point by point.",
      glossary: "Shapes and terms.",
      architecture: "The modules, and how a step runs.",
      numerics: "What the results are compared with, and how close they are.",
      performance: "What a step costs, and how to measure it.",
    },
  },
];

/** Where guides stand that were written since. */
const NEW_THEME = "More guides";

/** The overview first, then what people call first. The pages are written by `./build.sh docs`, so new ones find their place alone. */
function apiPages() {
  const told = {
    README: "Everything that the package exports, on one page.",
    trainer: "Loads a model, trains it, asks it, and saves what it learnt.",
    dataset: "Rows, kept in the browser.",
    types: "Every option, with its default.",
  };
  const all = namesIn("api/").map((name) => [name, told[name] ?? ""]);
  return { ...told, ...Object.fromEntries(all) };
}

function namesIn(folder) {
  const names = readdirSync(join(paths.root, "docs", folder)).filter((name) => name.endsWith(".md"));
  return names.map((name) => name.replace(/\.md$/, ""));
}

/** All documents in the order in which they are read: { file, page, theme, about, text, is_tested }. */
export function documents() {
  const placed = THEMES.flatMap(({ about }) => Object.keys(about));
  const unplaced = namesIn("guides/").filter((name) => !placed.includes(name));
  const all = [...THEMES, { theme: NEW_THEME, folder: "guides/", about: Object.fromEntries(unplaced.map((name) => [name, ""])) }];
  return all.flatMap((theme) => Object.keys(theme.about).map((name) => documentOf(theme, name)));
}

function documentOf({ theme, folder, about }, name) {
  const file = `docs/${folder}${name}.md`;
  return {
    file,
    theme,
    about: about[name],
    page: `guides/${folder.replace("guides/", "")}${name === "README" ? "index" : name}.html`,
    text: readFileSync(join(paths.root, file), "utf8"),
    // tests/docs/guides.test.mjs runs every block of what lies in that folder, and of no other pages.
    is_tested: folder === "guides/",
  };
}

/** What the README says first: what all of this is. */
export function introduction() {
  return readFileSync(join(paths.root, "README.md"), "utf8").split("\n\n")[1];
}

/** Where the repository can be read, if the package names a place. */
export function repository() {
  const { repository } = JSON.parse(readFileSync(join(paths.root, "www/package/package.json"), "utf8"));
  const address = typeof repository === "string" ? repository : repository?.url;
  return address?.replace(/^git\+/, "").replace(/\.git$/, "");
}
