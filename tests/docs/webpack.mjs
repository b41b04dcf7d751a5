// Stands in for webpack-cli, which this repository has no other use for: builds by the config in the working folder.
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import webpack from "webpack";

const { default: config } = await import(pathToFileURL(join(process.cwd(), "webpack.config.js")));
webpack({ context: process.cwd(), ...config }, (error, stats) => {
  const { errors, warnings } = stats?.toJson({ all: false, errors: true, warnings: true }) ?? {};
  const told = [error, ...(errors ?? []), ...(warnings ?? [])].filter(Boolean);
  for (const { message } of told) console.error(message);
  process.exitCode = told.length > 0 ? 1 : 0;
});
