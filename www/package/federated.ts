/** Learning together with others: a browser tab as a node of Flower. */
export { Federation, runName } from "./federated/federation.js";
export type { Aggregation, DeltaDtype, Privacy, Terms } from "./federated/terms.js";
export type { Bounds, FederationEvent, FederationOptions, Offer, Round } from "./federated/types.js";
export { VERSION } from "./protocol.js";
