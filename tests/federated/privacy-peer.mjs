// The Python half of masks and small deltas, as a process that answers calls.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { paths } from "../../tools/lib/paths.mjs";

const HOLDERS = { float32: Float32Array, float16: Uint16Array, uint8: Uint8Array, uint32: Uint32Array };

const base64 = ({ buffer, byteOffset, byteLength }) => Buffer.from(buffer, byteOffset, byteLength).toString("base64");
const bytesOf = (text) => Uint8Array.from(Buffer.from(text, "base64"));

/** An array with numpy's name of its type. */
export const array = (data, dtype = data instanceof Float32Array ? "float32" : "uint32") => ({ data, dtype });

function packed(value) {
  if (typeof value === "bigint") return String(value);
  if (value instanceof Uint8Array) return { bytes: base64(value) };
  if (ArrayBuffer.isView(value?.data)) return { array: base64(value.data), dtype: value.dtype };
  if (Array.isArray(value)) return value.map(packed);
  if (value instanceof Map) return Object.fromEntries([...value].map(([key, one]) => [String(key), packed(one)]));
  if (typeof value === "object" && value !== null) return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, packed(one)]));
  return value;
}

function unpacked(value, key = "") {
  if (Array.isArray(value)) return /(^|_)(ids|dropped)$/.test(key) ? value.map(BigInt) : value.map((one) => unpacked(one));
  if (typeof value !== "object" || value === null) return value;
  if ("bytes" in value) return bytesOf(value.bytes);
  if ("array" in value) return new HOLDERS[value.dtype](bytesOf(value.array).buffer);
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, unpacked(one, key)]));
}

/** Starts the process; `call` runs one of its functions and throws what that raised. */
export function privacyPeer() {
  const child = spawn(join(paths.root, "target/flower/bin/python"), [join(paths.root, "tests/federated/privacy_peer.py")], {
    env: { ...process.env, PYTHONPATH: join(paths.root, "federated/server") },
    stdio: ["pipe", "pipe", "inherit"],
  });
  const ended = new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const call = async (name, given) => {
    child.stdin.write(`${JSON.stringify({ do: name, ...packed(given) })}\n`);
    const { value } = await Promise.race([lines.next(), ended.then(() => ({}))]);
    if (value === undefined) throw new Error("the Python half has ended");
    const { result, error } = JSON.parse(value);
    if (error !== undefined) throw new Error(error);
    return unpacked(result);
  };
  const end = async () => {
    child.stdin.end();
    await ended;
  };
  return { call, end };
}
