// Stands in for webpack-cli, which this repository has no other use for: builds by the config in the working folder. Names are
// shortened, but code is not searched for shorter ways to say it, which takes webpack ten seconds.
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import webpack from "webpack";

const { default: config } = await import(pathToFileURL(join(process.cwd(), "webpack.config.js")));
const optimization = { minimizeOptions: { javascript: { compress: false } } };
webpack({ context: process.cwd(), optimization, ...config }, (error, stats) => {
  const { errors, warnings } = stats?.toJson({ all: false, errors: true, warnings: true }) ?? {};
  const told = [error, ...(errors ?? []), ...(warnings ?? [])].filter(Boolean);
  for (const { message } of told) console.error(message);
  process.exitCode = told.length > 0 ? 1 : 0;
});
