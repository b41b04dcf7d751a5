/** A dataset that has another name now. */
export interface Renamed {
  from: string;
  to: string;
}

const CHANNEL = "tabtune-renames";

/** Tells every trainer, of this tab and of others, which would look for the rows under the old name. */
export function tellRenamed(renamed: Renamed): void {
  const channel = new BroadcastChannel(CHANNEL);
  channel.postMessage(renamed);
  channel.close();
}

/** Hears of datasets that get other names, until `signal` is aborted. */
export function onRenamed(hear: (renamed: Renamed) => void, signal: AbortSignal): void {
  const channel = new BroadcastChannel(CHANNEL);
  channel.onmessage = ({ data }: MessageEvent<Renamed>) => hear(data);
  signal.addEventListener("abort", () => channel.close());
}
