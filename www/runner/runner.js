// The page behind `./build.sh train` and the browser tests: the package, driven from outside.
import * as tabtune from "/tabtune/index.js";
import { questionOf } from "/runner/question.js";

/** Puts the rows at an address into a dataset, and tells what the import found. */
async function fill(dataset, url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: the server answered ${response.status}`);
  const file_name = decodeURIComponent(url.slice(url.lastIndexOf("/") + 1));
  return dataset.import(await response.blob(), { file_name });
}

/** A dataset of that name with the rows at an address. */
async function importFrom(name, url) {
  const dataset = await tabtune.Dataset.open(name);
  await fill(dataset, url);
  return dataset;
}

/** Bytes as base64, the form in which they leave the page. */
async function toBase64(bytes) {
  const url = await new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(new Blob([bytes]));
  });
  return url.slice(url.indexOf(",") + 1);
}

/** The files of a trainer's adapter by name, as they leave the page. */
async function filesOf(trainer) {
  const files = {};
  for (const [name, bytes] of Object.entries(await trainer.save())) files[name] = await toBase64(bytes);
  return files;
}

/** The whole answer to a question, to a chat, or what goes on from a `{ prompt }`. */
async function answer(trainer, asked, options) {
  let text = "";
  const prompt = typeof asked === "string" ? [{ role: "user", content: asked }] : asked;
  for await (const piece of trainer.generate(prompt, options)) text += piece;
  return text;
}

/** Does `work` and tells its result or, as plain data, its error. */
async function outcome(work) {
  try {
    return { value: await work() };
  } catch (error) {
    return { error: { code: error.code ?? "internal", message: error.message ?? String(error) } };
  }
}

globalThis.runner = { tabtune, fill, importFrom, questionOf, toBase64, filesOf, answer, outcome };
