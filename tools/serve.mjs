// Serves the built page on localhost: node tools/serve.mjs [PORT]
import { serve } from "./lib/server.mjs";
import { paths } from "./lib/paths.mjs";

const port = Number(process.argv[2] ?? 8080);
try {
  const { origin } = await serve({ "/": paths.dist }, { port, isolated: true });
  console.log(`tabtune is at ${origin} (Ctrl-C ends it)`);
} catch (error) {
  console.error(`error[io]: port ${port} cannot be used (${error.code}); name another: ./build.sh serve PORT`);
  process.exit(1);
}
