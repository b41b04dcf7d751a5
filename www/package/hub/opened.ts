/** A file that is there; its bytes may still have to be downloaded by the first read. */
export interface OpenFile {
  size: number;
  /** Exactly `len` bytes from `start`, which lie within the file. */
  read(start: number, len: number): Promise<Uint8Array>;
}

/** Ranges are slices: the browser keeps a Blob outside of the worker's heap. */
export function fromBlob(blob: Blob): OpenFile {
  return {
    size: blob.size,
    read: async (start, len) => new Uint8Array(await blob.slice(start, start + len).arrayBuffer()),
  };
}
