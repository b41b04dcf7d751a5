// Where things lie in this tree.
import { fileURLToPath } from "node:url";

const at = (path) => fileURLToPath(new URL(`../../${path}`, import.meta.url));

export const paths = {
  root: at("."),
  /** The built page. */
  dist: at("www/dist"),
  /** The built package. */
  package: at("www/package/dist"),
  /** The package's modules before they are bundled, its WebAssembly among them. */
  modules: at("www/package/build"),
  runner: at("www/runner"),
  model: at("www/models/tiny"),
  data: at("www/data/faq.jsonl"),
  heldout: at("www/data/faq.heldout.jsonl"),
  config: at("www/data/faq.config.json"),
  fixtures: at("tests/fixtures/models"),
  /** Small models of other families than Llama. */
  families: at("tests/fixtures/families"),
  /** Small models whose weights are quantised in their files. */
  bases: at("tests/fixtures/bases"),
  /** Runs on preferences, over models of the folders above. */
  preferences: at("tests/fixtures/preferences"),
  /** The Python environment of Flower. */
  flower: at("target/flower"),
  /** The benchmarks as built for browsers. */
  bench: at("target/bench-wasm"),
};
