import type { AdapterCard } from "./card.js";
import { HUB_ID } from "../hub/folder.js";
import type { AdapterInspection } from "./inspect.js";

/** Identifiers of licences that the hub knows, of those that people give adapters; it refuses a repository with another one. */
const LICENSES = [
  "apache-2.0", "mit", "bsd-3-clause", "gpl-3.0", "agpl-3.0", "lgpl-3.0", "mpl-2.0", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0",
  "cc-by-nc-sa-4.0", "openrail", "gemma", "llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "unlicense", "unknown",
];

/** The README.md of an adapter's repository (https://huggingface.co/docs/hub/model-cards): what the hub reads, and what people do. */
export function modelCard(repo: string, card: AdapterCard | null, inspection: AdapterInspection): string {
  const title = card?.title ?? repo.split("/").at(-1)!;
  const base = card?.base_model?.name_or_path ?? inspection.base_model_name_or_path;
  const facts = [
    ["Base model", base],
    ["Method", card?.method],
    ["Rows", card?.rows],
    ["Steps", card?.steps],
    ["Held-out loss before", card?.loss_before],
    ["Held-out loss after", card?.loss_after],
    ["Rank", inspection.ranks.join(", ")],
    ["Adapted modules", inspection.modules.join(", ")],
    ["Parameters", inspection.parameters],
    ["Author", card?.author],
    ["Licence", card?.license],
    ["Date", card?.date],
  ].filter(([, value]) => value !== undefined && value !== null);
  const quoted = card?.words?.split("\n").map((line) => `> ${escaped(line)}`.trimEnd()) ?? [];
  return [
    ...frontMatter(base ?? null, card?.license),
    `# ${escaped(title)}`,
    "",
    ...(quoted.length > 0 ? [...quoted, ""] : []),
    "| | |",
    "| --- | --- |",
    ...facts.map(([name, value]) => `| ${name} | ${escaped(String(value))} |`),
    "",
    "A LoRA adapter that was trained in a browser with tabtune. PEFT loads it:",
    "",
    "```python",
    "from peft import AutoPeftModelForCausalLM",
    "",
    `model = AutoPeftModelForCausalLM.from_pretrained(${JSON.stringify(repo)})`,
    "```",
    "",
  ].join("\n");
}

/** YAML, whose texts in double quotes are those of JSON. */
function frontMatter(base: string | null, license: string | undefined): string[] {
  const known = LICENSES.find((name) => name === license?.toLowerCase());
  const other = license === undefined ? [] : ["license: other", `license_name: ${JSON.stringify(license)}`];
  return [
    "---",
    ...(base !== null && HUB_ID.test(base) ? [`base_model: ${JSON.stringify(base)}`, "base_model_relation: adapter"] : []),
    "library_name: peft",
    "tags:",
    ...["lora", "tabtune"].map((tag) => `- ${tag}`),
    ...(known ? [`license: ${known}`] : other),
    "---",
    "",
  ];
}

/** Text that Markdown shows as it is: all of its punctuation that could mean something is escaped (CommonMark, 2.4). */
function escaped(text: string): string {
  return text.replace(/[!"#$%&'()*+,\-./:;<=>?@[\\\]^_`{|}~]/g, "\\$&").replace(/[\n\t]/g, " ").replace(/^ +/, "");
}
