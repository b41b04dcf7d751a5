// As much of a browser as the page's logic asks for, without one.

/** An element that remembers what it is told. What is looked for in it is made on demand. */
class PlayedElement extends EventTarget {
  hidden = false;
  checked = false;
  value = "";
  textContent = "";
  dataset = {};
  options = [];
  selectedIndex = -1;
  children = [];
  attributes = new Map();
  classList = { add() {}, remove() {} };
  #found = new Map();

  querySelector(selector) {
    if (!this.#found.has(selector)) this.#found.set(selector, new PlayedElement());
    return this.#found.get(selector);
  }

  querySelectorAll() {
    return [];
  }

  replaceChildren(...children) {
    this.children = [];
    this.append(...children);
  }

  append(...children) {
    for (const child of children) if (child instanceof PlayedElement) child.parent = this;
    this.children.push(...children);
  }

  remove() {
    if (this.parent) this.parent.children = this.parent.children.filter((child) => child !== this);
  }

  replaceWith(other) {
    other.parent = this.parent;
    this.parent.children = this.parent.children.map((child) => (child === this ? other : child));
  }

  setAttribute(name, value) {
    this.attributes.set(name, value);
  }

  removeAttribute(name) {
    this.attributes.delete(name);
  }

  toggleAttribute(name, is_set) {
    if (is_set) this.attributes.set(name, "");
    else this.attributes.delete(name);
  }

  checkValidity() {
    return true;
  }

  closest() {
    return null;
  }

  matches() {
    return false;
  }

  scrollIntoView() {}

  focus() {}

  click() {
    this.dispatchEvent(new Event("click"));
  }
}

/** What IndexedDB answers, a moment later. */
function answer(work) {
  const request = {};
  setImmediate(() => {
    try {
      request.result = work();
      request.onsuccess?.();
    } catch (error) {
      request.error = error;
      request.onerror?.();
    }
  });
  return request;
}

/** IndexedDB with one store for each database. Writing to a database that is `full` fails. */
function playedStorage(full) {
  const databases = new Map();
  const storeOf = (name) => {
    if (!databases.has(name)) databases.set(name, new Map());
    const rows = databases.get(name);
    let is_refused = false;
    return {
      get transaction() {
        return answer(() => {
          if (is_refused) throw new DOMException("There is no room.", "QuotaExceededError");
        });
      },
      get: (key) => answer(() => structuredClone(rows.get(key))),
      getAll: () => answer(() => structuredClone([...rows.values()])),
      getAllKeys: () => answer(() => [...rows.keys()]),
      delete: (key) => answer(() => void rows.delete(key)),
      put(value, key) {
        const kept = structuredClone(value);
        is_refused = full.has(name);
        return answer(() => void (is_refused || rows.set(key, kept)));
      },
    };
  };
  return { open: (name) => answer(() => ({ transaction: () => ({ objectStore: () => storeOf(name) }) })) };
}

/** Puts an empty page in place, with storage in which nothing lies. */
export function playPage() {
  const elements = new Map();
  const element = (id) => {
    if (!elements.has(id)) elements.set(id, new PlayedElement());
    return elements.get(id);
  };
  const full = new Set();
  const events = new EventTarget();
  const page = {
    element,
    full,
    leave: () => events.dispatchEvent(new Event("pagehide")),
    /** Whether leaving the page is asked about. */
    get is_asking() {
      return !events.dispatchEvent(new Event("beforeunload", { cancelable: true }));
    },
  };
  const globals = {
    document: { getElementById: element, createElement: () => new PlayedElement(), createElementNS: () => new PlayedElement(), querySelectorAll: () => [] },
    window: {},
    indexedDB: playedStorage(full),
    navigator: { onLine: true, locks: { request: (...given) => given.at(-1)({}) } },
    Option: PlayedElement,
    matchMedia: () => ({ matches: true }),
    addEventListener: events.addEventListener.bind(events),
    removeEventListener: events.removeEventListener.bind(events),
  };
  for (const [name, value] of Object.entries(globals)) Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  return page;
}

/** The first button in an element that says a word, or that is told to be so. */
export function buttonIn(element, word) {
  for (const child of element.children ?? []) {
    const is_it = child.children?.includes(word) || child.attributes?.get("aria-label") === word;
    const found = is_it ? child : buttonIn(child, word);
    if (found) return found;
  }
  return undefined;
}
