// The pictures of documents, for their pages.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { paths } from "../paths.mjs";

/** The picture at a path from the root, as { bytes, width, height }; undefined for all that is no WebP file within docs/. */
export function readPicture(file) {
  const path = join(paths.root, file);
  if (!/^docs\/.*\.webp$/.test(file) || !existsSync(path)) return undefined;
  const bytes = readFileSync(path);
  return { bytes, ...sizeOf(bytes, file) };
}

/** How large a WebP file's picture is, of the kind that has its size before all else, as browsers write it. */
function sizeOf(bytes, file) {
  if (bytes.toString("latin1", 8, 16) !== "WEBPVP8X") throw new Error(`${file} is no WebP file of the extended kind`);
  return { width: 1 + bytes.readUIntLE(24, 3), height: 1 + bytes.readUIntLE(27, 3) };
}
