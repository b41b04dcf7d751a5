export { clip, normOf } from "./clip.js";
export { BLOCK, encodeDelta, type DeltaDtype, type EncodedDelta } from "./codec.js";
export { quantise, type FixedPoint, type Update } from "./fixed-point.js";
export {
  MaskedRound, MAX_PEERS, signedKeys, type Identity, type Keys, type Peers, type SealedShares, type Survivors, type Unmasking,
} from "./masks.js";
export { addNoise, gridOf } from "./noise.js";
