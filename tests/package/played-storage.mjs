// Storage as browsers have it, in memory: as much of IndexedDB and of Cache storage as the package uses.

/** IndexedDB with one store to a database. Values are cloned, as the real one clones them. */
export function playedIndexedDB() {
  const databases = new Map();
  const soon = (request, make) => {
    setTimeout(() => {
      request.result = make();
      request.onsuccess?.();
    });
    return request;
  };
  return {
    databases,
    open(name) {
      const request = {};
      setTimeout(() => {
        const is_new = !databases.has(name);
        const values = databases.get(name) ?? new Map();
        databases.set(name, values);
        request.result = { createObjectStore() {}, transaction: () => transactionOn(values) };
        if (is_new) request.onupgradeneeded?.();
        request.onsuccess?.();
      });
      return request;
    },
  };

  function transactionOn(values) {
    const transaction = { objectStore: () => store };
    const store = {
      transaction,
      get: (key) => soon({}, () => structuredClone(values.get(key))),
      put(value, key) {
        values.set(key, structuredClone(value));
        setTimeout(() => transaction.oncomplete?.());
      },
    };
    return transaction;
  }
}

/** Cache storage. With `room.bytes` set, there is room for so many in all. */
export function playedCaches() {
  const caches = new Map();
  const room = { bytes: Infinity };
  const open = async (name) => {
    const entries = caches.get(name) ?? new Map();
    caches.set(name, entries);
    return {
      async match(key) {
        const blob = entries.get(key);
        return blob && new Response(blob);
      },
      async put(key, response) {
        const blob = await response.blob();
        const used = [...caches.values()].flatMap((kept) => [...kept.values()]).reduce((sum, { size }) => sum + size, 0);
        if (used + blob.size > room.bytes) throw new DOMException("no room", "QuotaExceededError");
        entries.set(key, blob);
      },
      delete: async (key) => entries.delete(key),
      keys: async () => [...entries.keys()].map((url) => ({ url })),
    };
  };
  return { open, has: async (name) => caches.has(name), caches, room };
}

/** Sets a global that Node has already, such as `navigator`. */
export function setGlobal(name, value) {
  Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
}
