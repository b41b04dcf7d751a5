// What stands between a federation's SuperLink and everyone else: node federated/proxy/main.mjs --help
import { Failure } from "../../tools/lib/options.mjs";
import { Journal } from "./journal.mjs";
import { proxyOptions, USAGE } from "./options.mjs";
import { Proxy } from "./proxy.mjs";
import { readTerms } from "./terms.mjs";

async function main(args) {
  const { help, terms: path, host, port, ...options } = await proxyOptions(args);
  if (help) {
    process.stdout.write(USAGE);
    return;
  }
  const terms = await readTerms(path);
  const journal = new Journal();
  const proxy = open({ ...options, terms, journal });
  const bound = await proxy.listen({ host, port }).catch((error) => {
    throw new Failure("io", `${host}:${port} cannot be listened on (${error.code}); name another --port or --host`);
  });
  const at = `${options.tls ? "https" : "http"}://${host.includes(":") ? `[${host}]` : host}:${bound}`;
  const who = terms.enrolled ? `${terms.enrolled.length} enrolled nodes` : "everyone";
  journal.tell(`"${terms.terms.name}" is at ${at} for ${who}; calls go to ${options.superlink.origin}`);
  stopOn(["SIGINT", "SIGTERM"], proxy, journal);
}

function open(options) {
  try {
    return new Proxy(options);
  } catch (error) {
    if (!options.tls) throw error;
    throw new Failure("bad-option", `--cert and --key cannot be used: ${error.message}`);
  }
}

/** The first signal lets what is under way end; a second one does not. */
function stopOn(signals, proxy, journal) {
  const stop = async (signal) => {
    for (const name of signals) process.removeAllListeners(name);
    journal.tell(`${signal}: stopping`);
    await proxy.close();
    journal.tell("stopped");
  };
  for (const signal of signals) process.once(signal, stop);
}

main(process.argv.slice(2)).catch((error) => {
  console.error(error instanceof Failure ? `error[${error.code}]: ${error.message}` : error);
  process.exitCode = 1;
});
