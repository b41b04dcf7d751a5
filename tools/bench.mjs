// What `./build.sh bench --engine browser` runs: the benchmarks in headless Chromium.
import { launch } from "./lib/chromium.mjs";
import { paths } from "./lib/paths.mjs";
import { serve } from "./lib/server.mjs";

/** Runs in the page: loads the module and measures, reporting text as it comes. */
async function measure(args) {
  try {
    const { default: start, run } = await import("/bench/tabtune_bench.js");
    const [{ openMachine }, { newKernelWorker }] = await Promise.all([import("/package/kernels.js"), import("/package/kernel-workers.js")]);
    await start();
    await run(args, (stream, text) => void globalThis.report(stream, text), (workers) => openMachine(newKernelWorker, workers));
    return undefined;
  } catch (error) {
    return { code: error.code ?? "internal", message: error.message ?? String(error) };
  }
}

async function main() {
  const page_text = new TextEncoder().encode("<!doctype html><title>tabtune bench</title>");
  const icon = new Uint8Array(); // Asked for by the browser itself.
  const server = await serve({ "/bench/": paths.bench, "/package/": paths.modules, "/index.html": page_text, "/favicon.ico": icon }, { isolated: true });
  const browser = await launch();
  try {
    const page = await browser.newPage();
    // A panic of the engine says on the console what went wrong.
    page.on("console", (message) => message.type() === "error" && console.error(message.text()));
    await page.exposeFunction("report", (stream, text) => {
      if (stream === "results") console.log(text);
      else console.error(text);
    });
    await page.goto(`${server.origin}/index.html`);
    return await page.evaluate(measure, process.argv.slice(2));
  } finally {
    await browser.close();
    await server.close();
  }
}

const error = await main().catch(({ message }) => ({ code: "internal", message }));
if (error) {
  console.error(`error[${error.code}]: ${error.message}`);
  process.exitCode = 1;
}
