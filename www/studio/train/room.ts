import { signal } from "@preact/signals";
import { roomFor, type Room } from "./fits.js";

/** The memory that a run can have on what computes now. */
export const room = signal<Room>(roomOf(false));

/** Whether the processor computes, which has a limit of its own. */
export const on_processor = signal(false);

export function computesOnProcessor(is_processor: boolean): void {
  on_processor.value = is_processor;
  room.value = roomOf(is_processor);
}

function roomOf(is_processor: boolean): Room {
  const { deviceMemory } = navigator as { deviceMemory?: number };
  return roomFor(deviceMemory, is_processor);
}
