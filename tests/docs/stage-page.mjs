// The page that a document's scripts run in.

/** The package's entries. */
const IMPORTS = Object.fromEntries(
  Object.entries({ tabtune: "index", "tabtune/federated": "federated", "tabtune/exchange": "exchange" }).map(([name, file]) => [name, `/tabtune/${file}.js`]),
);

/** The page's HTML, with the elements of the document's HTML blocks. */
export const stagePage = (fragments) =>
  `<!doctype html><html lang="en"><head><meta charset="utf-8"><title>stage</title><script src="/stage.js"></script>` +
  `<script type="importmap">${JSON.stringify({ imports: IMPORTS })}</script></head><body>${fragments.join("")}</body></html>`;

/** The page's script: `given` are names of globals that are files of `rows`, `picked` the addresses of files that pickers give. */
export const stageScript = ({ given = [], picked }, rows) => `(${stage})(${JSON.stringify({ given, picked, rows })});`;

/** Runs in the page before its scripts: what a visitor's click would give, and what the console is told. */
function stage({ given, picked, rows }) {
  for (const name of given) globalThis[name] = new File([rows], "chats.jsonl");

  const told = { logged: [], errors: [] };
  // Browsers show values in ways of their own.
  const shown = (value) => (typeof value === "object" && !(value instanceof Error) ? JSON.stringify(value) : String(value));
  for (const [kind, list] of [["log", told.logged], ["error", told.errors]]) {
    const { [kind]: usual } = console;
    console[kind] = (...values) => {
      list.push(values.map(shown).join(" "));
      usual(...values);
    };
  }
  addEventListener("error", ({ message }) => told.errors.push(message));
  addEventListener("unhandledrejection", ({ reason }) => told.errors.push(String(reason)));
  addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => told.errors.push(`${violatedDirective} blocked ${blockedURI}`));
  globalThis.stage = {
    run: (address) => import(address).then(() => {}),
    /** What was told since the last time. */
    told: () => ({ logged: told.logged.splice(0), errors: told.errors.splice(0) }),
  };

  // A machine that runs tests is under pressure, and runs would rest.
  delete globalThis.PressureObserver;

  if (!picked || !("showDirectoryPicker" in globalThis)) return;
  const directory = async () => {
    const root = await navigator.storage.getDirectory();
    const folder = await root.getDirectoryHandle("picked", { create: true });
    for (const address of picked) {
      const file = await folder.getFileHandle(address.split("/").at(-1), { create: true });
      const writable = await file.createWritable();
      await writable.write(await (await fetch(address)).blob());
      await writable.close();
    }
    return folder;
  };
  globalThis.showDirectoryPicker = directory;
  globalThis.showOpenFilePicker = async () => [await (await directory()).getFileHandle(picked[0].split("/").at(-1))];
}

// ---- functions for `evaluate` --------------------------------------------------------------------------

/** Runs in the page: enters a text. */
export function enter({ selector, text }) {
  document.querySelector(selector).value = text;
}

/** Runs in the page: picks files, `path` being the one that a file has in a folder that is picked. */
export async function pick({ selector, files }) {
  const given = new DataTransfer();
  for (const { address, path } of files) {
    const file = new File([await (await fetch(address)).blob()], path.split("/").at(-1));
    // The browser sets it where a person picks a folder.
    if (path.includes("/")) Object.defineProperty(file, "webkitRelativePath", { value: path });
    given.items.add(file);
  }
  document.querySelector(selector).files = given.files;
}

/** Runs in the page: imports a file of that name, and tells what came of it. */
export async function importText({ text, name }) {
  const { Dataset } = await import("tabtune");
  const dataset = await Dataset.open("a block");
  const { rows, skipped, bad_rows } = await dataset.import(new Blob([text]), { file_name: name, on_bad_row: "skip" });
  await dataset.delete();
  return { rows, skipped, bad_rows };
}
