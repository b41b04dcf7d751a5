// Where the blocks run: a project, the package as it is installed, and a server with the headers that the guides tell.
import { execFile, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { dirname, extname, join, normalize } from "node:path";
import { promisify } from "node:util";
import { paths } from "../../tools/lib/paths.mjs";

const TYPES = {
  ".csv": "text/csv",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".json": "application/json",
  ".wasm": "application/wasm",
};

/**
 * Serves texts by their address, and folders by the beginning of it, on localhost and all with the same headers,
 * which may be changed.
 */
export async function startServer({ texts = {}, folders = {}, headers = {} }) {
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url, "http://localhost").pathname);
    for (const [name, value] of Object.entries(site.headers)) response.setHeader(name, value);
    const body = Object.hasOwn(texts, path) ? texts[path] : fileIn(folders, path);
    if (body === undefined) {
      response.writeHead(404, { "Content-Type": "text/plain" }).end("not found\n");
      return;
    }
    const type = path.endsWith("/") ? TYPES[".html"] : (TYPES[extname(path)] ?? "application/octet-stream");
    response.writeHead(200, { "Content-Type": type, "Cache-Control": "no-store" }).end(body);
  });
  await new Promise((resolve) => server.listen(0, "localhost", resolve));
  const site = {
    headers,
    /** The address of a file of those folders. */
    addressOf(file) {
      const [prefix, folder] = Object.entries(folders).find(([, folder]) => file.startsWith(folder));
      return `${prefix}${file.slice(folder.length)}`;
    },
    origin: `http://localhost:${server.address().port}`,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
  return site;
}

function fileIn(folders, path) {
  const prefix = Object.keys(folders).filter((prefix) => path.startsWith(prefix)).sort((a, b) => b.length - a.length)[0];
  if (prefix === undefined) return undefined;
  const file = normalize(join(folders[prefix], path.slice(prefix.length) || "index.html"));
  const is_file = file.startsWith(normalize(folders[prefix])) && statSync(file, { throwIfNoEntry: false })?.isFile();
  return is_file ? readFileSync(file) : undefined;
}

/** A folder that goes away with the test. */
export function folderFor(t) {
  const folder = mkdtempSync(join(tmpdir(), "tabtune-docs-"));
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 5 }));
  return folder;
}

/** The package as npm packs it: its path. */
export async function packInto(folder) {
  const args = ["pack", "--json", "--pack-destination", folder];
  const { stdout } = await promisify(execFile)("npm", args, { cwd: join(paths.root, "www/package") });
  const [{ filename }] = JSON.parse(stdout);
  return join(folder, filename);
}

/** An empty project. */
export function startProject(folder) {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "package.json"), '{ "name": "site", "private": true, "type": "module" }\n');
  return folder;
}

/** A project in `home` that has the package as it was built, where nothing hangs on how it is packed. */
export function builtProject(home) {
  const folder = startProject(join(home, "installed"));
  mkdirSync(join(folder, "node_modules/tabtune"), { recursive: true });
  symlinkSync(paths.package, join(folder, "node_modules/tabtune/dist"));
  return folder;
}

export function writeInto(folder, name, text) {
  const path = join(folder, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

/** Runs lines of a shell; what they print is told only if they fail. */
export async function shell(text, cwd) {
  try {
    await promisify(execFile)("bash", ["-euo", "pipefail", "-c", text], { cwd });
  } catch ({ stdout, stderr }) {
    throw new Error(`${text}\n${stdout}${stderr}`);
  }
}

/** Starts a development server and waits for the address that it prints: { address, stop }. */
export async function startCommand(text, cwd) {
  // In a group of its own, since what npx starts does not end with it.
  const child = spawn("bash", ["-c", `exec ${text}`], { cwd, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  const address = await new Promise((resolve, reject) => {
    const read = (data) => {
      output += String(data).replace(/\x1b\[[0-9;]*m/g, "");
      const found = /http:\/\/localhost:\d+/.exec(output);
      if (found) resolve(found[0]);
    };
    child.stdout.on("data", read);
    child.stderr.on("data", read);
    child.on("exit", () => reject(new Error(`${text} ended:\n${output}`)));
  });
  return { address, stop: () => process.kill(-child.pid) };
}

/**
 * Answers requests for servers that the guides name from others: `servers` has the address to ask by the
 * beginning of the one that is named, and `rename` what is to be asked for there.
 */
export async function standIn(page, servers, rename) {
  for (const [named, local] of Object.entries(servers)) {
    await page.route(`${named}**`, async (route) => {
      const request = route.request();
      const headers = await request.allHeaders();
      // Those of the connection are not handed on.
      for (const name of Object.keys(headers)) if (name.startsWith(":") || name === "host") delete headers[name];
      const response = await route.fetch({ url: rename(request.url().replace(named, local)), headers });
      const link = response.headers()["link"]?.replaceAll(local, named);
      await route.fulfill({ response, headers: { ...response.headers(), ...(link && { link }) } });
    });
  }
}
