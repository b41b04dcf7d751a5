// Where exports are written: folders that browsers gave, played.
import assert from "node:assert/strict";
import { test } from "node:test";
import { checkSave } from "../../www/package/build/options.js";
import { FolderSink } from "../../www/package/build/export/sink.js";

/** A folder whose files have `createWritable`, or else what workers have in its place. */
class PlayedFolder {
  kind = "directory";
  files = new Map();
  room = Infinity;
  constructor({ syncs = false } = {}) {
    this.syncs = syncs;
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

test("where a model cannot be written is refused", () => {
  const refused = (options, message) => assert.throws(() => checkSave(options), (error) => error.code === "bad-option" && message.test(error.message));
  refused({ format: "gguf", to: "disk" }, /to must be a folder/);
  refused({ format: "gguf", to: "opfs", name: "x" }, /name is not an option of Trainer.save; there are .*adapter/);
  checkSave({ format: "gguf", to: new PlayedFolder(), file: "shop.gguf", dtype: "q8_0" });
});
