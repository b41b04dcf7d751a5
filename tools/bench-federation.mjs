// What `./build.sh bench federation` runs: rounds of many clients on a SuperLink of this machine, and what they take of it.
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { APP, layoutFor, modulesOfTiny, playedRun, sizeOf } from "../tests/federated/played-run.mjs";
import { descendantsOf, superlink } from "../tests/federated/superlink.mjs";
import { losses } from "./bench-federation-loss.mjs";

/** The rank of the bundled model's adapter, on all linear layers. */
const RANK = 8;
/** How often a client asks whether there is a message. */
const POLL_MS = 1000;
const SAMPLE_MS = 200;
/** Ticks of the kernel's clock in a second, as /proc counts them on Linux. */
const TICKS = 100;

const rounded = (value) => Number(value.toPrecision(4));

function read(path) {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

/** The most memory that a process has had, in MB, and the seconds that processors have worked for it; undefined once it is gone. */
function usageOf(pid) {
  const [status, stat] = [read(`/proc/${pid}/status`), read(`/proc/${pid}/stat`)];
  const [, peak] = /^VmHWM:\s+(\d+)/m.exec(status ?? "") ?? [];
  if (peak === undefined || stat === undefined) return undefined;
  // What follows the program's name, which may have blanks: the twelfth and thirteenth are times.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return { megabytes: (Number(peak) * 1024) / 1e6, seconds: (Number(fields[11]) + Number(fields[12])) / TICKS };
}

const isApp = (pid) => read(`/proc/${pid}/cmdline`)?.includes("flwr-serverapp");

/** Samples SuperLink and app until it is told to stop; gives the last of each. */
function watch(link) {
  const last = {};
  let app;
  const timer = setInterval(() => {
    app ??= descendantsOf(link.pid).find(isApp);
    last.superlink = usageOf(link.pid) ?? last.superlink;
    if (app !== undefined) last.app = usageOf(app) ?? last.app;
  }, SAMPLE_MS);
  return {
    stop() {
      clearInterval(timer);
      return last;
    },
  };
}

/** So many clients for so many rounds; gives what is told of them. */
async function measure(clients, rounds) {
  const layout = layoutFor(modulesOfTiny(), RANK);
  const link = await superlink({ app: APP, in_memory: true });
  try {
    const lora = { r: RANK, lora_alpha: 2 * RANK, target_modules: "all-linear" };
    const terms = { lora, rounds, round_seconds: 600 };
    const watching = watch(link);
    const run = await playedRun(link, terms, Array.from({ length: clients }, () => ({ layout, poll_ms: POLL_MS, keeps: false })));
    await run.over;
    const { superlink: of_link, app } = watching.stop();
    const history = run.history().filter(({ round }) => round > 0);
    const are_all = history.length === rounds && history.every((entry) => entry.clients.length === clients);
    if (!are_all) throw new Error(`not all of ${clients} clients were in each of ${rounds} rounds`);
    const mean = (count) => run.clients.reduce((sum, { node }) => sum + count(node), 0) / clients / rounds;
    const seconds = history.map(({ seconds }) => seconds).sort((one, other) => one - other);
    await run.stop();
    return {
      clients,
      rounds,
      values: sizeOf(layout),
      seconds_a_round: rounded(seconds.reduce((sum, value) => sum + value, 0) / rounds),
      median_seconds: rounded(seconds[Math.floor(rounds / 2)]),
      bytes_up_a_client_and_round: Math.round(mean((node) => node.bytes_sent)),
      bytes_down_a_client_and_round: Math.round(mean((node) => node.bytes_received)),
      superlink_processor_seconds_a_round: rounded(of_link.seconds / rounds),
      app_processor_seconds_a_round: rounded(app.seconds / rounds),
      superlink_megabytes_peak: Math.round(of_link.megabytes),
      app_megabytes_peak: Math.round(app.megabytes),
    };
  } finally {
    await link.stop();
  }
}

/** The line through points by least squares, and how far a point is from it at most, as a part of its value. */
function lineThrough(points) {
  const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [x, y] = [mean(points.map(([at]) => at)), mean(points.map(([, value]) => value))];
  const spread = points.reduce((sum, [at]) => sum + (at - x) ** 2, 0);
  const slope = points.reduce((sum, [at, value]) => sum + (at - x) * (value - y), 0) / spread;
  const start = y - slope * x;
  const off = points.map(([at, value]) => Math.abs(start + slope * at - value) / value);
  return { with_none: rounded(start), with_each_client: rounded(slope), largest_residual: rounded(Math.max(...off)) };
}

const LINES = [
  "seconds_a_round",
  "superlink_processor_seconds_a_round",
  "app_processor_seconds_a_round",
  "superlink_megabytes_peak",
  "app_megabytes_peak",
];

/** Measures a fifth and half as many clients too, and tells how each figure grows with them. */
async function growth(clients, rounds, report) {
  const measured = [];
  for (const count of [clients / 5, clients / 2, clients].map(Math.round)) {
    measured.push(await measure(count, rounds));
    report("rounds", measured.at(-1));
  }
  for (const name of LINES) report("line", { of: name, ...lineThrough(measured.map((values) => [values.clients, values[name]])) });
}

function optionsOf(args) {
  const { values } = parseArgs({ args, options: { clients: { type: "string" }, rounds: { type: "string" }, loss: { type: "boolean" } } });
  const whole = (name, otherwise, least) => {
    const value = Number(values[name] ?? otherwise);
    if (!Number.isInteger(value) || value < least || value > 1000) throw new Error(`--${name} must be a whole number from ${least} to 1000`);
    return value;
  };
  return { clients: whole("clients", 50, 5), rounds: whole("rounds", values.loss ? 6 : 10, 1), loss: values.loss };
}

let options;
try {
  options = optionsOf(process.argv.slice(2));
} catch (thrown) {
  console.error(`error[bad-option]: ${thrown.message}`);
  process.exit(1);
}
const report = (kind, values) => console.log(JSON.stringify({ kind, ...values }));
await (options.loss ? losses(options.rounds, report) : growth(options.clients, options.rounds, report));
