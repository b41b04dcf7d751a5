// Where exports are written: folders that browsers gave, played.
import assert from "node:assert/strict";
import { test } from "node:test";
import { checkSave } from "../../www/package/build/options.js";
import { exportFolder, FolderSink } from "../../www/package/build/export/sink.js";

/** A folder whose files have `createWritable`, or else what workers have in its place. */
class PlayedFolder {
  kind = "directory";
  files = new Map();
  room = Infinity;
  constructor({ syncs = false } = {}) {
    this.syncs = syncs;
  }

  async isSameEntry(other) {
    return other === this;
  }

  async getFileHandle(name, { create = false } = {}) {
    if (!this.files.has(name)) {
      if (!create) throw new DOMException("none", "NotFoundError");
      this.files.set(name, []);
    }
    return this.syncs ? { createSyncAccessHandle: async () => this.#access(name) } : { createWritable: async () => this.#stream(name) };
  }

  async removeEntry(name) {
    this.files.delete(name);
  }

  #take(piece) {
    this.room -= piece.length;
    if (this.room < 0) throw new DOMException("no room", "QuotaExceededError");
  }

  #stream(name) {
    const written = [];
    const write = async (piece) => {
      this.#take(piece);
      written.push(...piece);
    };
    return { write, close: async () => void this.files.set(name, written), abort: async () => {} };
  }

  #access(name) {
    const bytes = this.files.get(name);
    const truncate = (length) => void (bytes.length = length);
    return { truncate, write: (piece) => bytes.push(...piece), close: () => {} };
  }
}

for (const syncs of [false, true]) {
  test(`files are written in pieces, ${syncs ? "by a worker's handle" : "through a stream"}`, async () => {
    const folder = new PlayedFolder({ syncs });
    folder.files.set("a", [9, 9, 9, 9, 9]);
    const sink = new FolderSink(folder);
    await sink.create("a", 3);
    await sink.write(Uint8Array.of(1, 2));
    await sink.write(Uint8Array.of(3));
    await sink.finish();
    assert.deepEqual(folder.files.get("a"), [1, 2, 3]);
    assert.deepEqual(sink.files, [{ name: "a", bytes: 3 }]);
  });
}

test("a file that did not become whole is removed, and one that was there stays as it was", async () => {
  const folder = new PlayedFolder();
  folder.files.set("old", [7]);
  for (const name of ["old", "new"]) {
    const sink = new FolderSink(folder);
    await sink.create(name, 2);
    await sink.write(Uint8Array.of(1));
    await sink.abort();
    assert.deepEqual(sink.files, []);
  }
  assert.deepEqual([...folder.files], [["old", [7]]]);
});

test("a full disk has its own code", async () => {
  const folder = new PlayedFolder();
  folder.room = 1;
  const sink = new FolderSink(folder);
  await sink.create("a", 2);
  await assert.rejects(sink.write(Uint8Array.of(1, 2)), { code: "quota-exceeded", message: "a: no room" });
});

test("a model is not written over the files that it is made of", async (t) => {
  const [model, other, earlier] = [new PlayedFolder(), new PlayedFolder(), new PlayedFolder()];
  let own = earlier;
  const root = { removeEntry: async () => void (own = undefined), getDirectoryHandle: async () => (own ??= new PlayedFolder()) };
  const before = Object.getOwnPropertyDescriptor(globalThis, "navigator") ?? { value: undefined, configurable: true };
  Object.defineProperty(globalThis, "navigator", { value: { storage: { getDirectory: async () => root } }, configurable: true });
  t.after(() => Object.defineProperty(globalThis, "navigator", before));
  const of = (handle) => ({ kind: "directory", handle });

  assert.equal(await exportFolder(of(model), other), other);
  await assert.rejects(exportFolder(of(model), model), { code: "bad-option", message: /the model itself lies in the folder .* name another one/ });
  await assert.rejects(exportFolder(of(earlier), undefined), { code: "bad-option" });
  assert.equal(own, earlier, "an export that a model was loaded from stays");
  assert.notEqual(await exportFolder(of(model), undefined), earlier, "what an earlier one left is gone");
  assert.notEqual(await exportFolder({ kind: "url", base: "https://models.test/" }, undefined), earlier);
});

test("where a model cannot be written is refused", () => {
  const refused = (options, message) => assert.throws(() => checkSave(options), (error) => error.code === "bad-option" && message.test(error.message));
  refused({ format: "gguf", to: "disk" }, /to must be a folder/);
  refused({ format: "gguf", to: "opfs", name: "x" }, /name is not an option of Trainer.save; there are .*adapter/);
  checkSave({ format: "gguf", to: new PlayedFolder(), file: "shop.gguf", dtype: "q8_0" });
});
