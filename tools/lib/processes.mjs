// The processes of a browser and the memory that they hold, on Linux.
import { readdirSync, readFileSync } from "node:fs";

/** Reads a file of /proc; a process may be gone before it is read. */
function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

/** The processes of the browser with that profile: { pid, type, bytes }, the browser's own type being "browser". */
export function processesOf(profile) {
  const all = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map((pid) => {
    const status = read(`/proc/${pid}/status`);
    const command = read(`/proc/${pid}/cmdline`).replaceAll("\0", " ");
    const number = (field) => Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? 0);
    return { pid: Number(pid), parent: number("PPid"), bytes: 1024 * number("RssAnon"), command };
  });
  const found = all.filter(({ command }) => command.includes(profile) && !command.includes("--type="));
  // Children come after their parents are found, however deep they are.
  for (let index = 0; index < found.length; index++) {
    found.push(...all.filter(({ parent, pid }) => parent === found[index].pid && !found.some((known) => known.pid === pid)));
  }
  return found.map(({ pid, bytes, command }) => ({ pid, bytes, type: /--type=([\w-]+)/.exec(command)?.[1] ?? "browser" }));
}

/** Bytes of the memory of all processes of a type that no file backs. */
export function memoryOf(profile, type) {
  return processesOf(profile).reduce((sum, process) => sum + (process.type === type ? process.bytes : 0), 0);
}
