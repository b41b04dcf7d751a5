import type { Signal } from "@preact/signals";
import { ITEM_KINDS, KIND_WORDS, sumsOf, type Item } from "./items.js";
import { sizeWords } from "./sizes.js";

/** What the browser tells of its storage. */
export interface Room {
  /** What this site takes in all, and may take; undefined where the browser tells neither. */
  usage: number | undefined;
  quota: number | undefined;
  /** Whether the browser has promised to keep it when room runs low; undefined where it promises nothing to anyone. */
  is_promised: boolean | undefined;
}

/** Asks the browser what it tells. */
export async function roomNow(): Promise<Room> {
  const { storage } = navigator as { storage?: StorageManager };
  const { usage, quota } = (await storage?.estimate?.().catch(() => undefined)) ?? {};
  const is_promised = await storage?.persisted?.().catch(() => undefined);
  return { usage, quota, is_promised };
}

interface StorageProps {
  items: Signal<Item[] | undefined>;
  room: Signal<Room | undefined>;
}

/** What is kept, by kinds with the largest first, and how safe it is. */
export function StorageView({ items, room }: StorageProps) {
  const { usage, quota, is_promised } = room.value ?? {};
  const sums = sumsOf(items.value ?? []);
  const kept = ITEM_KINDS.reduce((sum, kind) => sum + sums[kind].bytes, 0);
  // What the engine and the page keep for themselves. Browsers pack some of what they count, so it may be less than nothing.
  const rest = Math.max(0, (usage ?? 0) - kept);
  const parts = [...ITEM_KINDS.map((kind) => ({ name: kind as string, word: KIND_WORDS[kind].many, bytes: sums[kind].bytes })), { name: "rest", word: "The page itself", bytes: rest }]
    .filter((part) => part.bytes > 0)
    .sort((one, other) => other.bytes - one.bytes);
  const most = parts[0]?.bytes ?? 1;
  return (
    <div class="storage-parts">
      <p>
        <b id="kept-bytes">{sizeWords(kept)}</b> {"are kept here"}
        {quota !== undefined && `, of ${sizeWords(quota)} that the browser lets this page have`}.
      </p>
      <ul class="shares" aria-label="What takes how much">
        {parts.map(({ name, word, bytes: taken }) => (
          <li key={name} data-part={name} class={`of-${name}`}>
            <span>{word}</span> <span class="figure">{sizeWords(taken)}</span>
            <i style={{ width: `${(100 * taken) / most}%` }} aria-hidden="true" />
          </li>
        ))}
      </ul>
      {is_promised !== undefined && (
        <p class="hint" id="promise">
          {is_promised ? "The browser has promised to keep it until you delete it." : "Should the disk become full, the browser may clear it away, unless it promises not to."}
        </p>
      )}
    </div>
  );
}
