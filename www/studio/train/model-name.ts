/** What a model was chosen by, which outlives the page. The files of a folder do not. */
export interface ModelName {
  kind: string;
  /** The hub's id or the folder's name. */
  name: string;
}

/** For people. */
export function modelWords({ kind, name }: ModelName): string {
  return kind === "bundled" ? "the bundled model" : (hubIdIn(name) ?? name);
}

/**
 * The model that an adapter says it was trained on: a hub's id, or the page's own model by its address. A
 * folder's name is told to the person alone; undefined where nothing is said.
 */
export function namedBy(base: unknown): ModelName | undefined {
  if (typeof base !== "string" || base.trim() === "") return undefined;
  const named = base.trim().replace(/\/+$/, "");
  if (/(^|\/)models\/tiny$/.test(named)) return { kind: "bundled", name: "" };
  const id = hubIdIn(named);
  if (id !== undefined) return { kind: "hub", name: id };
  return { kind: "folder", name: named.split(/[\\/]/).at(-1)! };
}

/** A GGUF has its encoding or the name of its file behind the id. */
const HUB_ID = /^\w[\w.-]*\/\w[\w.-]*(:[\w.-]+)?$/;
const HUB_PAGE = /^(?:https?:\/\/)?(?:huggingface\.co|hf\.co)\/(\w[\w.-]*\/\w[\w.-]*)(?:[/?#].*)?$/;

/** The hub's id in what a person wrote or copied: the id itself or the address of the model's page. */
export function hubIdIn(text: string): string | undefined {
  const written = text.trim();
  return HUB_PAGE.exec(written)?.[1] ?? (HUB_ID.test(written) ? written : undefined);
}
