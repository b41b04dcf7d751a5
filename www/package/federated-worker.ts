/** What a worker loads only where its page takes part in rounds of learning together. */
export { Participant } from "./federated/participant.js";
export { VERSION } from "./protocol.js";
