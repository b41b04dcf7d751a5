// How each document's code blocks are run, where that is not as the document says, and what browsers lack for it.
import { join } from "node:path";
import { paths } from "../../tools/lib/paths.mjs";

/** Text of blocks that is changed before they run. */
export const CHANGED = [{ from: /max_steps: \d{2,}/g, to: "max_steps: 2", why: "what a run learns is not looked at" }];

export const changed = (text) => CHANGED.reduce((text, { from, to }) => text.replace(from, to), text);

/** Lines of shell blocks that are changed before they run. The rest runs as it is. */
export const COMMANDS = [
  { from: /^npm install (\.\/tabtune-.*\.tgz)$/, to: "install", why: "no test needs a registry, and npm installs it once" },
  { from: /^npm install --save-dev vite$/, to: "link vite", why: "this repository's own is taken" },
  { from: /^node tools\/gallery\.mjs /, to: `node "${join(paths.root, "tools/gallery.mjs")}" `, why: "blocks run in a project of their own" },
  { from: /^npm install --save-dev webpack webpack-cli$/, to: "link webpack", why: "the same; webpack.mjs is the cli" },
];

/** Shell blocks that go on until they are stopped. */
export const SERVING = ["npx vite\n"];

/** The hub has the tiny model alone. These names and this version stand for it too. */
export const MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct";
const SAME = /my-team\/(private|my)-model|bartowski\/SmolLM2-135M-Instruct-GGUF/;
export const sameModel = (path) => path.replace(SAME, MODEL).replace("/revision/v1.0", "/revision/main");

/** The hub has a GGUF beside it, which a file picker gives too. */
export const GGUF = "tests/fixtures/bases/gguf_q4_k_m_llama/model.gguf";

/** Where the hub that the guides name has its large files, and where it takes them. */
export const LARGE = "https://cdn-lfs.hf.co";
export const TAKES_LARGE = "https://cdn.example.com";

const CHAT = { messages: [{ role: "user", content: "Where are you?" }, { role: "assistant", content: "At 12 Mill Lane." }] };

/** Rows that a person has picked. */
export const ROWS = `${JSON.stringify(CHAT)}\n`;

/** Of the federation that the guide to learning together joins. */
const TERMS = {
  version: 1,
  name: "Shops of our town",
  operator: "The town library",
  base_model_name_or_path: MODEL,
  lora: { r: 8, lora_alpha: 16, target_modules: ["q_proj", "v_proj"] },
  train: { max_steps: 2, learning_rate: 0.002, per_device_train_batch_size: 1, max_length: 128 },
  rounds: 2,
  min_clients: 1,
};

/**
 * How each document is run. Those that take longest come first, since several run side by side:
 *   section  only this section of it
 *   given    globals of the page that its scripts run in: files of rows
 *   fill     what the user enters or picks, by selector: text, a path, or the names of blocks of the document
 *   picked   what showOpenFilePicker and showDirectoryPicker give: addresses of files
 *   allow    origins that connect-src must allow besides those of the guide to CSP
 *   pages    the folder of a page to open after a block, by the block's command or name; it works if it gets text
 *   without_policy  whether that page is sent without a CSP
 *   is_bundled  whether a bundler makes that page, which takes it long. All browsers get the same from it, so it is opened in Chromium alone
 *   bad      bad rows in the block of that name
 *   downloads  files that it downloads
 *   keep       the folder of the project where these are put; it is at https://gallery.example.org/ meanwhile
 *   repo       a repository that the hub takes uploads to
 *   expected   what the console tells of a failure that the guide shows
 *   learn      terms of a federation that runs at https://learn.example.org/ meanwhile. It is a real one, on Flower: a server that
 *              is played would answer as this guide's author expects, and the real one starts in some seconds.
 */
export const DOCUMENTS = {
  "docs/guides/webpack.md": { pages: { "npx webpack": "dist" }, is_bundled: true },
  "docs/guides/vite.md": { pages: { "npx vite build": "dist", "npx vite": "served" }, is_bundled: true },
  "docs/guides/models.md": {
    allow: ["https://hub.example.com", "https://models.example.com"],
    fill: {
      "#model": { folder: paths.model },
      "#gguf": { path: join(paths.root, GGUF) },
      "#token": { text: "hf_of_the_user" },
    },
    picked: ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"].map((name) => `/models/my-model/${name}`),
  },
  "README.md": { section: "From a web app", given: ["file"] },
  "www/package/README.md": { given: ["file"] },
  "docs/guides/better-or-not.md": {},
  "docs/guides/chat-and-compare.md": {},
  "docs/guides/csp-and-headers.md": { pages: { "main.js": "." } },
  "docs/guides/exchange-adapters.md": {
    allow: ["https://gallery.example.org", TAKES_LARGE],
    fill: { "#token": { text: "hf_of_the_user" } },
    keep: "gallery",
    repo: "my-team/shop-hours",
    downloads: ["opening-hours.zip"],
  },
  "docs/guides/exports.md": {},
  // The federation has started by then.
  "docs/guides/learn-together.md": { allow: ["https://learn.example.org"], learn: TERMS },
  "docs/guides/full-fine-tuning.md": {},
  "docs/guides/errors.md": { expected: /404 \(Not Found\)/ },
  "docs/guides/first-fine-tune.md": { downloads: ["adapter_config.json", "adapter_model.safetensors"] },
  // Its one script is for Node, and is run by the library's own test.
  "docs/guides/keep-and-move.md": {},
  "docs/guides/memory-and-ways.md": {},
  "docs/guides/preferences.md": {},
  "docs/guides/offline-and-install.md": {},
  "docs/guides/run-a-federation.md": {},
  "docs/guides/script-tag.md": { pages: { "index.html": "." }, without_policy: true },
  "docs/guides/sizes-and-browsers.md": {},
  "docs/guides/teach-by-picking.md": {},
  "docs/guides/what-happens-when.md": {},
  "docs/guides/your-own-data.md": {
    fill: { "#file": { blocks: ["chats.jsonl"] }, "#folder": { rows: true } },
    picked: ["/data/chats.jsonl"],
    bad: { "some-bad.jsonl": 1 },
  },
};

/** The hub's commit of that model. */
export const COMMIT = "0123456789abcdef0123456789abcdef01234567";

/** Runs in the page: whether it gets a file that the hub, which wants a token, sends it elsewhere for, where no token is taken. */
const leavesTokens = (address) => fetch(address, { headers: { Authorization: "Bearer hf_of_the_user" } }).then(({ ok }) => ok, () => false);

const PICKERS = [
  { what: "pickers of files", used: /\bshowOpenFilePicker\(/, has: () => "showOpenFilePicker" in globalThis },
  { what: "pickers of folders", used: /\bshowDirectoryPicker\(/, has: () => "showDirectoryPicker" in globalThis },
];

/**
 * Blocks that use what a browser lacks: these, and what goes on from them, do not run there. `has` runs in a page, perhaps with the
 * argument `given`, and has to tell false: what a browser has come to have is no exception any more.
 */
export const LACKING = {
  Chromium: [],
  Firefox: PICKERS,
  WebKitGTK: [
    ...PICKERS,
    { what: "a storage that is asked, with a file system", used: /\bnavigator\.storage\b|\bto: "opfs"/, has: () => "storage" in navigator },
    {
      what: "to leave a token behind where the hub sends it elsewhere",
      used: /\btoken: field\.value\b/,
      has: leavesTokens,
      given: `https://huggingface.co/${MODEL}/resolve/${COMMIT}/model.safetensors`,
    },
  ],
};
