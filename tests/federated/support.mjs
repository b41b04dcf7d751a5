// A federation on this machine: SuperLink, the app and the proxy, and tabs that take part.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { paths } from "../../tools/lib/paths.mjs";
import { superlink } from "./superlink.mjs";

/**
 * The terms of tests: two local steps of the bundled model, but for what is said otherwise. Nobody comes too late for a round because a
 * machine does something else meanwhile: it would be made once more, and tests count.
 */
export function termsOf(more = {}) {
  return {
    version: 1,
    name: "A test",
    operator: "this machine",
    base_model_name_or_path: "bundled",
    lora: { r: 4, lora_alpha: 8, target_modules: "all-linear", freeze_a: false },
    train: { max_steps: 2, learning_rate: 0.01, per_device_train_batch_size: 2, max_length: 64 },
    rounds: 3,
    min_clients: 2,
    round_seconds: 600,
    ...more,
  };
}

/** What a condition gives, once it is something. */
export async function until(what, condition, seconds = 600) {
  for (const end = Date.now() + 1000 * seconds; Date.now() < end; await sleep(50)) {
    const found = await condition();
    if (found) return found;
  }
  throw new Error(`${what} has not come in ${seconds} s`);
}

/** Starts the proxy in front of a SuperLink, for pages of `origin`, one or several, or with a `page` of its own; gives its address and what ends it. */
async function proxy(terms, { port, origin, page }) {
  const origins = [origin].flat().flatMap((one) => ["--origin", one]);
  const args = ["--terms", terms, "--superlink", `http://127.0.0.1:${port}`, "--port", "0", ...origins, ...(page ? ["--page", page] : [])];
  const child = spawn(process.execPath, [join(paths.root, "federated/proxy/main.mjs"), ...args], { stdio: ["ignore", "pipe", "pipe"] });
  let said = "";
  const base = await new Promise((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on("line", (line) => {
        said += `${line}\n`;
        const [address] = /http:\/\/127\.0\.0\.1:\d+/.exec(line) ?? [];
        if (address) resolve(address);
      });
    }
    child.once("exit", () => reject(new Error(`the proxy did not start:\n${said}`)));
  });
  return {
    base,
    log: () => said,
    async stop() {
      if (child.exitCode !== null) return;
      const gone = once(child, "exit");
      child.kill("SIGTERM");
      await gone;
    },
  };
}

/**
 * Starts a federation with these terms, which ends with the test and serves the folder `page` if there is one, and gives
 * - `base`, the address that clients join at;
 * - `history()`, what the server has noted of the rounds that are over;
 * - `ended(seconds)`: waits for the end of the app and gives its status;
 * - `restart()`: ends SuperLink and app at once and starts them again;
 * - `out`, the folder with what the server keeps; `link`, the SuperLink.
 */
export async function federation(t, terms, { origin = "http://127.0.0.1:1", page } = {}) {
  const folder = mkdtempSync(join(tmpdir(), "tabtune-federation-"));
  const [file, out] = [join(folder, "federation.json"), join(folder, "out")];
  writeFileSync(file, JSON.stringify(terms));
  const link = await superlink({ app: join(paths.root, "federated/server"), runConfig: { terms: file, out } });
  const front = await proxy(file, { port: link.port, origin, page });
  t.after(async () => {
    await front.stop();
    await link.stop();
    rmSync(folder, { recursive: true, force: true, maxRetries: 20 });
  });
  let run = link.run();
  // Who waits for its end hears of it.
  run.catch(() => {});
  return {
    base: front.base,
    out,
    link,
    log: () => `${link.log()}\n${front.log()}`,
    history: () => JSON.parse(readFileSync(join(out, "history.json"), "utf8")).rounds,
    ended: async (seconds) => link.ended(await run, seconds),
    async restart() {
      await link.restart();
      run = await link.run({ resume: true });
    },
  };
}
