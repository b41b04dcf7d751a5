// What the page hands to a person: into places that they pick, or as downloads where browsers cannot ask.
import { readFileSync } from "node:fs";

/** Runs in a page before its scripts: whoever is asked for a place picks one that is theirs alone. */
function pickFor() {
  const folder = async () => (await navigator.storage.getDirectory()).getDirectoryHandle("picked", { create: true });
  globalThis.showDirectoryPicker = folder;
  globalThis.showSaveFilePicker = async ({ suggestedName }) => (await folder()).getFileHandle(suggestedName, { create: true });
}

/** Runs in a page before its scripts: a browser that cannot ask for a place, as on phones. */
function pickNothing() {
  delete globalThis.showDirectoryPicker;
  delete globalThis.showSaveFilePicker;
}

/** Runs in the page: the files of the place that was picked, in base64 by their names, of each at most so many bytes. They are gone from it then. */
async function takePicked(most) {
  const told = (file) =>
    new Promise((resolve) => {
      const reader = new FileReader();
      reader.onload = () => resolve(reader.result.split(",")[1]);
      reader.readAsDataURL(file);
    });
  const files = {};
  const look = async (folder) => {
    for await (const handle of folder.values()) {
      if (handle.kind === "directory") await look(handle);
      else files[handle.name] = await told((await handle.getFile()).slice(0, most));
    }
  };
  const root = await navigator.storage.getDirectory();
  await look(await root.getDirectoryHandle("picked"));
  await root.removeEntry("picked", { recursive: true });
  return files;
}

/**
 * Gives `handed`, which does something and resolves to the files, by their names, that come of it; of large ones `most` bytes are
 * enough. What it does resolves to how many files they are. With `picks` the person is asked for a place.
 */
export async function handing(page, picks) {
  await page.addInitScript(picks ? pickFor : pickNothing);
  if (picks) {
    return async (act, most) => {
      await act();
      return Object.fromEntries(Object.entries(await page.evaluate(takePicked, most)).map(([name, base64]) => [name, Buffer.from(base64, "base64")]));
    };
  }
  return async (act) => {
    const begun = [];
    const collect = (download) => begun.push(download);
    page.on("download", collect);
    const count = await act();
    while (begun.length < count) await page.waitForEvent("download");
    page.off("download", collect);
    const files = await Promise.all(begun.map(async (download) => [download.suggestedFilename(), readFileSync(await download.path())]));
    return Object.fromEntries(files);
  };
}
