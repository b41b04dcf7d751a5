import type { Client } from "./client.js";
import { failure } from "./errors.js";
import { adapterFolder, type Folder, type FolderSource, type HubOptions } from "./files.js";
import type { AdapterList } from "./protocol.js";
import type { AdapterFiles, BlendPart, LoadedAdapter, ProgressCallback } from "./types.js";

/** What the adapters ask of the trainer whose model they are for. */
export interface AdaptersHost {
  /** The engine with the model, which may have to be started again. */
  engine(): Promise<Client>;
  /** Whether steps are being made. */
  is_running(): boolean;
  /** The adapter of the prepared run is gone, and the run with it. */
  giveUpRun(): Promise<void>;
  report: ProgressCallback;
  /** How adapters are taken from a hub. */
  hub: HubOptions;
}

/** PEFT's name of the adapter that runs start from and train. */
export const DEFAULT_ADAPTER = "default";

/**
 * The LoRA adapters of a {@link Trainer}'s model by name: one at a time takes part in answers, and another is
 * switched to without loading the model again. "default" is the one of `init_adapter`, which runs start from, and
 * once a run is prepared it is the run's own. Of a run of all weights, "default" is what it made of them: it can be
 * switched to and off, but is no adapter and not in the list.
 */
export interface Adapters {
  /** The adapter that takes part in answers and is saved; null where there is none or it is off. */
  readonly active: string | null;
  /**
   * Loads an adapter that PEFT or {@link Trainer.save} wrote, and makes it the active one. One of the same name is
   * replaced; "default" also takes the place of a prepared run, and the next run trains on from it.
   */
  load(name: string, source: FolderSource | AdapterFiles): Promise<LoadedAdapter>;
  /**
   * Makes one adapter of several, their weighted sum, and makes it the active one. It is exact: factors are put beside one
   * another, as PEFT's `add_weighted_adapter` does with `combination_type: "cat"`, so its rank is the sum of theirs, at most 512
   * in any module. It is an adapter like any other afterwards and does not change with its parts. One of the same name is
   * replaced as {@link Adapters.load} does it, and may be one of the parts. Adapters with `use_dora`, `modules_to_save` or `bias`
   * cannot be blended.
   */
  blend(name: string, parts: readonly BlendPart[]): Promise<LoadedAdapter>;
  /** Lets another adapter take part in answers. */
  switch(name: string): Promise<void>;
  /** Lets the model answer without any adapter. */
  off(): Promise<void>;
  /** All adapters that there are, in the order of their names. */
  list(): Promise<LoadedAdapter[]>;
  /** Forgets an adapter; was it the active one, none is afterwards. With "default" goes a prepared run. */
  delete(name: string): Promise<void>;
}

/** The adapters that an engine has, and how another engine gets them. */
export class EngineAdapters implements Adapters {
  readonly #host: AdaptersHost;
  /** Where each one was loaded from. */
  readonly #sources = new Map<string, Folder>();
  #active: string | null = null;

  constructor(host: AdaptersHost) {
    this.#host = host;
  }

  get active(): string | null {
    return this.#active;
  }

  async load(name: string, source: FolderSource | AdapterFiles): Promise<LoadedAdapter> {
    checkName(name);
    const folder = adapterFolder(source, this.#host.hub);
    this.#mayReplace(name);
    return this.loadInto(await this.#host.engine(), name, folder);
  }

  /** Loads an adapter in this very engine. */
  async loadInto(client: Client, name: string, folder: Folder): Promise<LoadedAdapter> {
    const list = this.#noted(await client.call("load_adapter", { name, folder }, { report: this.#host.report }));
    this.#sources.set(name, folder);
    if (name === DEFAULT_ADAPTER) await this.#host.giveUpRun();
    return list.adapters.find((adapter) => adapter.name === name)!;
  }

  async blend(name: string, parts: readonly BlendPart[]): Promise<LoadedAdapter> {
    checkName(name);
    if (!Array.isArray(parts)) throw failure("bad-option", "a blend is made of a list: [{ adapter, weight }]");
    this.#mayReplace(name);
    const client = await this.#host.engine();
    const plain = parts.map((part) => ({ adapter: part?.adapter, weight: part?.weight }));
    const list = this.#noted(await client.call("blend_adapters", { name, parts: plain }));
    this.#sources.delete(name);
    if (name === DEFAULT_ADAPTER) await this.#host.giveUpRun();
    // Its parts may be gone when it has to be loaded again. Browsers may hold a blob on disk.
    this.#sources.set(name, adapterFolder(await client.call("save", { name }), this.#host.hub));
    return list.adapters.find((adapter) => adapter.name === name)!;
  }

  async switch(name: string): Promise<void> {
    checkName(name);
    const client = await this.#host.engine();
    this.#noted(await client.call("use_adapter", { name }));
  }

  async off(): Promise<void> {
    const client = await this.#host.engine();
    this.#noted(await client.call("use_adapter", { name: undefined }));
  }

  async list(): Promise<LoadedAdapter[]> {
    const client = await this.#host.engine();
    return this.#noted(await client.call("adapters", undefined)).adapters;
  }

  async delete(name: string): Promise<void> {
    checkName(name);
    this.#mayReplace(name);
    const client = await this.#host.engine();
    this.#noted(await client.call("delete_adapter", { name }));
    this.#sources.delete(name);
    if (name === DEFAULT_ADAPTER) await this.#host.giveUpRun();
  }

  /** Loads in another engine what was loaded before; a run's adapter comes with the run. */
  async restore(client: Client): Promise<void> {
    for (const [name, folder] of this.#sources) await client.call("load_adapter", { name, folder });
  }

  /** Takes a prepared run out of another engine: what is called "default" is again what runs start from, if anything. */
  async dropRun(client: Client): Promise<void> {
    await client.call("delete_adapter", { name: DEFAULT_ADAPTER });
    const folder = this.#sources.get(DEFAULT_ADAPTER);
    if (folder) await client.call("load_adapter", { name: DEFAULT_ADAPTER, folder });
  }

  /** Makes the adapter active in another engine that was active before. */
  async activate(client: Client): Promise<void> {
    const { adapters, has_run } = await client.call("adapters", undefined);
    const names = adapters.map((adapter) => adapter.name);
    // A run of all weights has no adapter, and what it made of them goes by that name.
    if (has_run) names.push(DEFAULT_ADAPTER);
    const name = names.find((name) => name === this.#active);
    this.#noted(await client.call("use_adapter", { name }));
  }

  /** Takes over what the engine has: a run that was prepared makes its own adapter the active one. */
  async refresh(client: Client): Promise<AdapterList> {
    return this.#noted(await client.call("adapters", undefined));
  }

  #noted(list: AdapterList): AdapterList {
    this.#active = list.active;
    return list;
  }

  #mayReplace(name: string): void {
    if (name === DEFAULT_ADAPTER && this.#host.is_running()) {
      throw failure("bad-state", `a run is training the adapter "${name}": stop it first, or take another name`);
    }
  }
}

function checkName(name: unknown): asserts name is string {
  if (typeof name !== "string" || name === "") throw failure("bad-option", "an adapter needs a name");
}
