export { serverAddress } from "./address.js";
export type { Content, FlowerRecord } from "./content.js";
export { FederationError, type FederationCode } from "./errors.js";
export type { Retry } from "./fleet.js";
export { fromFloat16, toFloat16 } from "./float16.js";
export {
  browserIdentities,
  Identity,
  memoryIdentities,
  verify,
  type IdentityStore,
  type KeptIdentity,
} from "./identity.js";
export type { Answer, IncomingHead } from "./message.js";
export { FleetNode, type Incoming, type JoinOptions, type ObjectCache } from "./node.js";
export { flat, float32Of, type Dtype, type NdArray } from "./npy.js";
export type { Scalar, Value, Values } from "./records.js";
