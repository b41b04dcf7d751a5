// What the packaging tests share: the package as npm packs it, and a project that has it installed.
import { execFile, execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { paths } from "../../tools/lib/paths.mjs";

const source = join(paths.root, "www/package");

export const { version } = JSON.parse(readFileSync(join(source, "package.json"), "utf8"));

/** Packs the package into a folder that goes away with the test: { folder, filename, files, size, unpackedSize }. */
export function pack(t) {
  const folder = mkdtempSync(join(tmpdir(), "tabtune-packed-"));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const args = ["pack", "--json", "--pack-destination", folder];
  const [packed] = JSON.parse(execFileSync("npm", args, { cwd: source, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }));
  return { ...packed, folder };
}

/** A copy of consumer/ with the packed package installed: the folder. */
export function consumer(t) {
  const { folder, filename } = pack(t);
  const project = join(folder, "project");
  cpSync(fileURLToPath(new URL("consumer", import.meta.url)), project, { recursive: true });
  execFileSync("npm", ["install", "--offline", "--no-audit", join(folder, filename)], { cwd: project, stdio: "pipe" });
  return project;
}

/** Runs one of this tree's own programs, so that a consumer needs nothing from a registry. */
export async function own(program, args, cwd) {
  try {
    await promisify(execFile)(process.execPath, [join(paths.root, "node_modules", program), ...args], { cwd });
  } catch ({ stdout, stderr }) {
    throw new Error(`${program} failed:\n${stdout}${stderr}`);
  }
}
