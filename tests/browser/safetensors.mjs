// Takes safetensors files apart and puts them together again, also wrongly.

/** { name: { dtype, shape, bytes } } in the order of the data. */
export function parseSafetensors(file) {
  const length = Number(new DataView(file.buffer, file.byteOffset).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(file.subarray(8, 8 + length)));
  delete header.__metadata__;
  const entries = Object.entries(header).sort(([, a], [, b]) => a.data_offsets[0] - b.data_offsets[0]);
  return Object.fromEntries(
    entries.map(([name, { dtype, shape, data_offsets: [start, end] }]) => [
      name,
      { dtype, shape, bytes: file.slice(8 + length + start, 8 + length + end) },
    ]),
  );
}

/** The file of these tensors; `alter` may change the header before it is written. */
export function buildSafetensors(tensors, alter = () => {}) {
  const header = {};
  let offset = 0;
  for (const [name, { dtype, shape, bytes }] of Object.entries(tensors)) {
    header[name] = { dtype, shape, data_offsets: [offset, offset + bytes.length] };
    offset += bytes.length;
  }
  alter(header);
  const text = JSON.stringify(header);
  const padded = new TextEncoder().encode(text.padEnd(Math.ceil(text.length / 8) * 8));
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(padded.length), true);
  return new Uint8Array(Buffer.concat([length, padded, ...Object.values(tensors).map(({ bytes }) => bytes)]));
}
