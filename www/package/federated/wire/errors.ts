import { TabtuneError, type ErrorCode } from "../../errors.js";

/** What can go wrong between a node and its server. */
export type FederationCode = Extract<ErrorCode, `federation-${string}`>;

/** Where it went wrong. */
export interface Place {
  /** The path of the Fleet API that was asked, such as "pull-messages". */
  path?: string | undefined;
  /** The HTTP status of the answer; left out where none came. */
  status?: number | undefined;
  /** Flower's own number of the error, where the server gave one. */
  server_code?: number | undefined;
}

/** An error of a node: `path` and `status` say which call failed and how. */
export class FederationError extends TabtuneError {
  declare readonly code: FederationCode;
  readonly path: string | undefined;
  readonly status: number | undefined;
  readonly server_code: number | undefined;

  constructor(code: FederationCode, message: string, { path, status, server_code }: Place = {}) {
    super({ code, message, context: path === undefined ? [] : [path] });
    this.path = path;
    this.status = status;
    this.server_code = server_code;
  }
}

/** An answer that is not what Flower 1.42 sends. */
export function malformed(message: string, place?: Place): FederationError {
  return new FederationError("federation-protocol", message, place);
}

/** Reads what came from outside; whatever a decoder throws at it is an answer that is malformed. */
export function decoded<T>(what: string, decode: () => T): T {
  try {
    return decode();
  } catch (thrown) {
    if (thrown instanceof FederationError) throw thrown;
    throw malformed(`${what} cannot be read (${String(thrown)})`);
  }
}

/** A text from outside as a message may quote it. */
export function quoted(text: unknown, most = 80): string {
  const whole = JSON.stringify(text) ?? String(text);
  return whole.length > most ? `${whole.slice(0, most)}…` : whole;
}
