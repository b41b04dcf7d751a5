// Bundles the package: from the modules in www/package/build, as tsc left them, to what is published,
// in www/package/dist.
//
// The page's half, its evaluations, what knows of downloaded models, the exchange of adapters, the worker's half, the CPU
// engine's machine and its workers are one file each, with everything from npm inside: the import map
// of a page does not reach into its workers, so a bare import there would break pages without a bundler.
// The files are not minified and have no source maps. They are meant to be read in a debugger as they
// are, while a map would more than double them for the TypeScript that it has to carry along. What their comments
// say stands in the declarations, where editors show it.
import { createHash } from "node:crypto";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { rolldown } from "rolldown";
import { paths } from "./lib/paths.mjs";

const home = join(paths.root, "www/package");
const built = join(home, "build");
const dist = paths.package;

/** What wasm-bindgen wrote stays a file of its own, beside the module that it loads by its address. */
const GLUE = "./wasm/tabtune.js";
/** Which of these a page needs shows at run time, so each is loaded by its address. */
const WASM = ["tabtune.js", "tabtune_bg.wasm", "kernels_simd128.wasm", "kernels_relaxed_simd.wasm"];
/**
 * The page loads the worker's module itself where it hands in a GPU device, and these where it asks what became of a model, which
 * ones are downloaded, or takes one to another browser.
 */
const WORKER = "./worker.js";
const EVALUATION = "./evaluation.js";
const MODELS = "./models.js";
/** A worker loads this one where its page takes part in rounds of learning together. */
const FEDERATED_WORKER = "./federated-worker.js";
/** Entries beside the page's half take the class of its errors from there, so that it is the same whoever threw. */
const INDEX = "./index.js";
const ERROR = join(built, "tabtune-error.js");

/** Makes the module of the errors' class, wherever it is imported from, the page's half. */
const errorsOfIndex = {
  name: "errors",
  resolveId: (id, from) => (from && join(dirname(from), id) === ERROR ? { id: INDEX, external: "absolute" } : null),
};

/** One bundle as { code, modules }; all it may still import are `imports`. */
async function bundle(name, imports, plugins = []) {
  const build = await rolldown({
    // Paths in the output are relative to this, so that it does not depend on where it was built.
    cwd: built,
    input: name,
    platform: "browser",
    // A debugger shows constants by their names.
    optimization: { inlineConst: false },
    plugins: [...plugins, { name: "own", resolveId: (id) => (imports.includes(id) ? { id, external: "absolute" } : null) }],
    onLog(_level, { message }) {
      throw new Error(message);
    },
  });
  const { output } = await build.generate({ format: "es", codeSplitting: false, minify: false, comments: { jsdoc: false } });
  await build.close();
  const [{ code, moduleIds, imports: left, dynamicImports }] = output;
  // What is imported lazily is inside as well, and listed as an import of the file itself.
  const strange = [...left, ...dynamicImports].filter((id) => id !== name && !imports.includes(id));
  if (output.length > 1 || strange.length > 0) throw new Error(`${name} is not one file: it needs ${strange.join(", ")}`);
  return { code, modules: moduleIds };
}

/** The version with a hash of all that runs: the bundles and the WebAssembly beside them. */
function stampOf(bundles) {
  const hash = createHash("sha256");
  for (const { code } of bundles) hash.update(code);
  for (const name of WASM) hash.update(readFileSync(join(built, "wasm", name)));
  const { version } = JSON.parse(readFileSync(join(home, "package.json"), "utf8"));
  return `${version}+${hash.digest("hex").slice(0, 12)}`;
}

/** Puts the stamp where protocol.ts has the version of modules that were not bundled. */
function stamped(code, stamp) {
  const unstamped = '"0.0.0+unbundled"';
  if (!code.includes(unstamped)) throw new Error(`a bundle has no ${unstamped} to be stamped`);
  return code.replaceAll(unstamped, JSON.stringify(stamp));
}

/** The licences of the npm packages that the modules come from. */
function licences(modules) {
  const folders = modules.map((path) => /^.*\/node_modules\/(@[^/]+\/)?[^/]+/.exec(path)?.[0]);
  const texts = [...new Set(folders)].filter(Boolean).sort().map((folder) => {
    const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const file = readdirSync(folder).find((file) => /^licen[cs]e/i.test(file));
    const text = file ? readFileSync(join(folder, file), "utf8") : headsOf(modules.filter((path) => path.startsWith(`${folder}/`)));
    if (!text) throw new Error(`${name} is bundled, but has no licence to go with it`);
    return `${name} ${version} (${license})\n\n${text.trim()}\n`;
  });
  return ["The modules contain parts of these packages.\n", ...texts].join(`\n${"-".repeat(72)}\n\n`);
}

/** What the modules of a package that has no file for it say of their licence, in the comments that they begin with. */
function headsOf(modules) {
  const heads = modules.map((path) => /^(\/\/.*\n)+/.exec(readFileSync(path, "utf8"))?.[0].replaceAll(/^\/\/ ?/gm, ""));
  return [...new Set(heads)].filter((head) => /copyright/i.test(head ?? "")).join("\n");
}

/** Copies a declaration file and those that it refers to, which leaves out what only the worker sees. */
function copyDeclarations(name, copied = new Set()) {
  if (copied.has(name)) return;
  copied.add(name);
  const text = readFileSync(join(built, name), "utf8");
  mkdirSync(dirname(join(dist, name)), { recursive: true });
  writeFileSync(join(dist, name), text);
  for (const [, path] of text.matchAll(/(?:from |import\()"(\.[^"]*)\.js"/g)) {
    copyDeclarations(join(dirname(name), `${path}.d.ts`), copied);
  }
}

const index = await bundle("index.js", [WORKER, EVALUATION, MODELS]);
const evaluation = await bundle("evaluation.js", []);
const models = await bundle("models.js", [INDEX], [errorsOfIndex]);
const exchange = await bundle("exchange/index.js", [INDEX], [errorsOfIndex]);
const federated = await bundle("federated.js", [INDEX], [errorsOfIndex]);
const federated_worker = await bundle("federated-worker.js", []);
const worker = await bundle("worker.js", [GLUE, FEDERATED_WORKER]);
const machine = await bundle("machine.js", []);
const kernel_worker = await bundle("kernel-worker.js", []);
const stamp = stampOf([index, evaluation, models, federated, federated_worker, worker, machine, kernel_worker]);
rmSync(dist, { recursive: true, force: true });
copyDeclarations("index.d.ts");
copyDeclarations("exchange/index.d.ts");
copyDeclarations("federated.d.ts");
writeFileSync(join(dist, "index.js"), stamped(index.code, stamp));
writeFileSync(join(dist, "evaluation.js"), stamped(evaluation.code, stamp));
writeFileSync(join(dist, "models.js"), stamped(models.code, stamp));
// It shares nothing with the other files but the class of its errors, so it need not be of the same build.
writeFileSync(join(dist, "exchange.js"), exchange.code);
writeFileSync(join(dist, "federated.js"), stamped(federated.code, stamp));
writeFileSync(join(dist, "federated-worker.js"), stamped(federated_worker.code, stamp));
writeFileSync(join(dist, "worker.js"), stamped(worker.code, stamp));
writeFileSync(join(dist, "machine.js"), stamped(machine.code, stamp));
writeFileSync(join(dist, "kernel-worker.js"), stamped(kernel_worker.code, stamp));
writeFileSync(join(dist, "THIRD-PARTY-LICENSES.txt"), licences([...index.modules, ...models.modules, ...exchange.modules, ...federated_worker.modules, ...worker.modules]));
mkdirSync(join(dist, "wasm"));
for (const name of WASM) cpSync(join(built, "wasm", name), join(dist, "wasm", name));
