import { createStore, type UseStore } from "idb-keyval";

/**
 * WebKit keeps a page that is left, in case that one comes back, with its transactions as they stand, and no other page gets to
 * such a database until the tab is closed. They are made once more when the page is back. Other browsers let them end.
 */
const keeps_transactions = globalThis.navigator?.vendor?.startsWith("Apple") ?? false;

/** Transactions that are on their way. */
const going = new Set<IDBTransaction>();
/** Settled while the page is there. */
let shown = Promise.resolve();

if (keeps_transactions) {
  addEventListener("pagehide", ({ persisted }) => {
    if (!persisted) return;
    shown = new Promise((resolve) => addEventListener("pageshow", () => resolve(), { once: true }));
    for (const transaction of going) abort(transaction);
  });
}

/** What is kept in the browser under that name, for the calls of idb-keyval. */
export function openStore(database: string, name: string): UseStore {
  const use = createStore(database, name);
  if (!keeps_transactions) return use;
  return async (mode, work) => {
    for (;;) {
      await shown;
      const before = shown;
      try {
        return await use(mode, (records) => work(noted(records)));
      } catch (thrown) {
        if (shown === before) throw thrown;
      }
    }
  };
}

function noted(records: IDBObjectStore): IDBObjectStore {
  const { transaction } = records;
  going.add(transaction);
  for (const end of ["complete", "abort"]) transaction.addEventListener(end, () => going.delete(transaction));
  return records;
}

function abort(transaction: IDBTransaction): void {
  try {
    transaction.abort();
  } catch {
    // It is being committed.
  }
}
