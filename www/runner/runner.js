// The page behind `./build.sh train` and the browser tests: the package, driven from outside.
import * as tabtune from "/tabtune/index.js";

/** Puts the rows at an address into the browser's storage. */
async function importFrom(name, url) {
  const dataset = await tabtune.Dataset.open(name);
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: the server answered ${response.status}`);
  await dataset.import(await response.blob(), { file_name: url.slice(url.lastIndexOf("/") + 1) });
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

async function answer(trainer, question, options) {
  let text = "";
  for await (const piece of trainer.generate([{ role: "user", content: question }], options)) text += piece;
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

globalThis.runner = { tabtune, importFrom, toBase64, answer, outcome };
