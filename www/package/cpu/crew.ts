/** Who works through lists of calls, in order. */
export interface Crew {
  /** How many work at a time. */
  readonly workers: number;
  /** Whether all that was started is through. */
  readonly idle: boolean;
  /** Starts those who work, once; resolves when they are ready. */
  begin(): Promise<void>;
  /** Starts a list after those before it; false where no more can wait. */
  start(list: number, count: number): boolean;
  /** Ends at once, whatever goes on. */
  close(): void;
}

/** What a crew tells of its work. */
export interface Listener {
  /** A list is through. */
  finished(): void;
  /** Nothing more will be done. */
  failed(error: unknown): void;
}
