// Writes the index of a gallery: of the adapters in a folder, which then can be hosted anywhere as it is.
//
//   node tools/gallery.mjs FOLDER [NAME]
//
// Each folder in FOLDER that has an adapter_config.json, and each zip file, is an adapter. It needs a card (tabtune_card.json),
// which the gallery shows. One that is damaged or has none is told and left out, and the exit code is 1 then.
import { openAsBlob } from "node:fs";
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { CARD_FILE, checkAdapter, galleryIndex, readAdapter } from "../www/package/build/exchange/index.js";

const NAMES = ["adapter_config.json", "adapter_model.safetensors", CARD_FILE];

/** What an entry of the folder is as { name, path, bytes, adapter }; undefined for what is no adapter. */
async function exhibit(folder, entry) {
  const place = join(folder, entry.name);
  if (entry.isFile() && /\.zip$/i.test(entry.name)) {
    const zip = await openAsBlob(place);
    return { name: entry.name.slice(0, -4), path: entry.name, bytes: zip.size, adapter: await checked(zip) };
  }
  if (!entry.isDirectory() || !(await stat(join(place, NAMES[0])).catch(() => undefined))) return undefined;
  const files = [];
  for (const name of NAMES) {
    const bytes = await readFile(join(place, name)).catch(() => undefined);
    if (bytes) files.push(new File([bytes], name));
  }
  const bytes = files.reduce((sum, { size }) => sum + size, 0);
  return { name: entry.name, path: `${entry.name}/`, bytes, adapter: await checked(files) };
}

async function checked(picked) {
  const adapter = await checkAdapter(await readAdapter(picked));
  if (!adapter.verified.card) throw new Error(`the adapter has no ${CARD_FILE}, which a gallery shows`);
  return adapter;
}

const [folder, name] = process.argv.slice(2);
if (folder === undefined) {
  console.error("usage: node tools/gallery.mjs FOLDER [NAME]");
  process.exit(2);
}
const exhibits = [];
const entries = (await readdir(folder, { withFileTypes: true })).sort((one, other) => (one.name < other.name ? -1 : 1));
for (const entry of entries) {
  try {
    const found = await exhibit(folder, entry);
    if (found) exhibits.push(found);
  } catch (thrown) {
    console.error(`${entry.name}: ${thrown.message}`);
    process.exitCode = 1;
  }
}
await writeFile(join(folder, "index.json"), await galleryIndex(exhibits, name));
console.log(`${exhibits.length} adapters are in ${join(folder, "index.json")}`);
