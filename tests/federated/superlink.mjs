// A SuperLink of Flower on localhost, with what one needs to run an app on it. Its state lies in a folder of its own, which
// goes when it is stopped.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { paths } from "../../tools/lib/paths.mjs";
import { freePort } from "../../tools/lib/ports.mjs";

const executables = join(paths.flower, "bin");
const START_SECONDS = 120;

/** The processes that a process has started, and those that they have, on Linux. */
export function descendantsOf(pid) {
  const children = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).filter((name) => {
    try {
      return Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${name}/status`, "utf8"))?.[1]) === pid;
    } catch {
      return false;
    }
  });
  return children.flatMap((name) => [Number(name), ...descendantsOf(Number(name))]);
}

/** Settings as Flower's command line has them: values of TOML. */
const configOf = (settings) => Object.entries(settings).map(([name, value]) => `${name}=${JSON.stringify(value)}`).join(" ");

/** Flower's command line in a process that stays: `flwr(...args)` gives what a command has said, and `stop()` ends the process. */
function commandLine({ env, cwd }) {
  const child = spawn(join(executables, "python"), [join(paths.root, "federated/server/tests/commands.py")], { env, cwd });
  const waiting = [];
  let said = "";
  let has_ended = false;
  child.stderr.setEncoding("utf8").on("data", (text) => (said += text));
  createInterface({ input: child.stdout }).on("line", (line) => {
    const { args, resolve, reject } = waiting.shift();
    const { code, out } = JSON.parse(line);
    if (code === 0) resolve(out);
    else reject(new Error(`flwr ${args.join(" ")} ended with ${code}:\n${out}`));
  });
  const refuse = ({ reject }) => reject(new Error(`Flower's command line has ended:\n${said}`));
  const gone = once(child, "close").then(() => {
    has_ended = true;
    waiting.forEach(refuse);
  });
  // Whoever asks it for something then is told that it has ended.
  child.stdin.on("error", () => {});
  return {
    flwr: (...args) =>
      new Promise((resolve, reject) => {
        if (has_ended) return refuse({ reject });
        waiting.push({ args, resolve, reject });
        child.stdin.write(`${JSON.stringify(args)}\n`);
      }),
    async stop() {
      child.kill("SIGKILL");
      await gone;
    },
  };
}

/**
 * Starts a SuperLink, with its state on disk unless it is to be `in_memory`, where it is twice as fast and no restart finds it; gives
 * - `port` and `base`, the address that nodes join at;
 * - `home`, its folder, in which runs may keep theirs;
 * - `pid`, of the SuperLink now;
 * - `run(more)`: starts the app of the folder `app` with the settings `runConfig` and `more`, and gives the run's id once it is at work;
 * - `status(id)`: "pending", "starting", "running" or "finished:completed" and other ends;
 * - `ended(id, seconds)`: waits for the end of a run and gives its status;
 * - `stopRun(id)`: ends a run;
 * - `log()`: what the SuperLink and its apps have said;
 * - `restart()`: ends it at once and starts it again, with the same port and state;
 * - `stop()`: ends it and removes its folder.
 */
export async function superlink({ app, runConfig = {}, in_memory = false }) {
  if (!existsSync(executables)) throw new Error(`Flower is not in ${executables}: need_flower of tools/setup.sh installs it`);
  const home = mkdtempSync(join(tmpdir(), "tabtune-superlink-"));
  const port = await freePort();
  const address = `127.0.0.1:${port}`;
  const config = ["[superlink]", 'default = "local"', "[superlink.local]", `address = "${address}"`, "insecure = true", ""];
  writeFileSync(join(home, "config.toml"), config.join("\n"));
  const env = {
    ...process.env,
    PATH: `${executables}${delimiter}${process.env.PATH}`,
    FLWR_HOME: home,
    FLWR_TELEMETRY_ENABLED: "0",
    FLWR_DISABLE_UPDATE_CHECK: "1",
    // How often it looks for a run to start.
    FLWR_SUPEREXEC_TASK_POLL_INTERVAL: "0.2",
  };
  const commands = commandLine({ env, cwd: home });
  const { flwr } = commands;
  let child;
  let said = "";

  async function start() {
    const state = in_memory ? [] : ["--database", join(home, "state.db")];
    const place = ["--insecure", "--host", "127.0.0.1", "--port", String(port), ...state];
    child = spawn(join(executables, "flower-superlink"), [...place, "--disable-runtime-dependency-installation"], { env });
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (said += text));
    for (let waited = 0; waited < 10 * START_SECONDS; waited++) {
      if (child.exitCode !== null) break;
      // A call without a body is refused, but only by a SuperLink that has started.
      const answer = await fetch(`http://${address}/v1/fleet/pull-messages`, { method: "POST" }).catch(() => undefined);
      if (answer) return;
      await sleep(100);
    }
    await stop();
    throw new Error(`the SuperLink did not start:\n${said}`);
  }

  async function end(signal) {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const apps = descendantsOf(child.pid);
    const gone = once(child, "exit");
    child.kill(signal);
    await gone;
    // Apps would go on for a while, and write to its folder.
    for (const pid of apps) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It has ended by itself.
      }
    }
  }

  async function stop() {
    await end("SIGTERM");
    await commands.stop();
    rmSync(home, { recursive: true, force: true, maxRetries: 20 });
  }

  async function status(id) {
    const out = await flwr("list", "local", "--run-id", id, "--format", "json");
    const { runs } = JSON.parse(out);
    if (runs?.length !== 1) throw new Error(`run ${id} is not in the list:\n${out}\n${said}`);
    return runs[0].status;
  }

  /** Starts the app, and gives the run's id once it is at work. */
  async function begin(runConfig) {
    const settings = configOf(runConfig);
    const out = await flwr("run", app, "local", ...(settings ? ["--run-config", settings] : []), "--format", "json");
    const { success, ["run-id"]: id } = JSON.parse(out);
    if (!success) throw new Error(`the app was not started:\n${out}`);
    while (/pending|starting/.test(await status(id))) await sleep(200);
    return id;
  }

  // One after another: where several start at once on a busy machine, Flower gives them up.
  let starting = Promise.resolve();
  await start();
  return {
    port,
    home,
    base: `http://${address}`,
    get pid() {
      return child.pid;
    },
    run(more = {}) {
      const started = starting.then(() => begin({ ...runConfig, ...more }));
      starting = started.catch(() => {});
      return started;
    },
    status,
    async ended(id, seconds = 600) {
      for (const until = Date.now() + 1000 * seconds; Date.now() < until; await sleep(300)) {
        const now = await status(id);
        if (now.startsWith("finished")) return now;
      }
      throw new Error(`run ${id} has not ended in ${seconds} s:\n${said}`);
    },
    stopRun: (id) => flwr("stop", id, "local"),
    log: () => said,
    async restart() {
      await end("SIGKILL");
      await start();
    },
    stop,
  };
}
