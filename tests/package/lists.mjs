// Lists of calls as the engine writes them into a machine's memory. Pages take this file as it is.

/** Writes calls, each [kernel by its index, params, [[address, bytes], …]]: { address, count } for Machine.start. */
export function listOf(machine, calls) {
  const words = (values) => {
    const address = machine.allocate(4 * values.length);
    machine.write(address, new Uint8Array(Uint32Array.from(values).buffer));
    return address;
  };
  const heads = calls.flatMap(([kernel, params, operands]) => {
    return [kernel, words(params), words(operands.flat()), operands.length];
  });
  return { address: words(heads), count: calls.length };
}
