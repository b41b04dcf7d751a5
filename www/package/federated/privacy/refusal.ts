import { failure, type TabtuneError } from "../../errors.js";

/** What is thrown where the server's messages are not what they have to be: the client leaves the round out. */
export function refused(message: string): TabtuneError {
  return failure("federation-protocol", message);
}

/** What is thrown where a delta cannot be sent: one value that is no number would spoil the sum of all clients. */
export function notFinite(index: number, value: number): TabtuneError {
  return failure("not-finite", `value ${index} of the delta is ${value}: lower the learning rate, or leave this round out`);
}

/** What is thrown where a setting makes no sense. */
export function badOption(message: string): TabtuneError {
  return failure("bad-option", message);
}
