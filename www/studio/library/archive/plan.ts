import type { Archive } from "./archive.js";
import { KIND } from "./kinds/index.js";
import type { Here, Planned } from "./kinds/kind.js";
import { KINDS, type ArchivedKind } from "./manifest.js";

/** Says of everything in an archive whether it is new here, and what it will be called. Nothing that is here is ever written over. */
export async function planFor(archive: Pick<Archive, "manifest" | "needed">, here: Here): Promise<Planned[]> {
  const taken = takenIn(here);
  const plan: Planned[] = [];
  for (const item of archive.manifest.items) {
    const { sameAs, nameFor, by_name } = KIND[item.kind];
    const { names, ids } = taken[item.kind];
    const bytes = item.files.reduce((sum, file) => sum + file.bytes, 0);
    const same = await sameAs(item, here, archive);
    if (same !== undefined) {
      plan.push({ item, is_here: true, name: same, id: by_name ? same : item.id, bytes });
      continue;
    }
    const name = free(nameFor?.(item.name) ?? item.name, names);
    const id = by_name ? name : free(item.id, ids);
    names?.add(name);
    ids?.add(id);
    plan.push({ item, is_here: false, name, id, bytes });
  }
  return plan;
}

/** Names and ids that are taken, by kinds; undefined where one may occur twice. */
function takenIn(here: Here): Record<ArchivedKind, { names: Set<string> | undefined; ids: Set<string> | undefined }> {
  const kinds = Object.keys(KINDS) as ArchivedKind[];
  const all = kinds.map((kind) => {
    const { names, ids } = KIND[kind].taken(here);
    return [kind, { names: names && new Set(names), ids: ids && new Set(ids) }] as const;
  });
  return Object.fromEntries(all) as ReturnType<typeof takenIn>;
}

/** The name itself, or with a number behind it that tells it from those that are there. */
function free(name: string, taken: Set<string> | undefined): string {
  for (let number = 1; ; number++) {
    const other = number === 1 ? name : `${name} (${number})`;
    if (!taken?.has(other)) return other;
  }
}
