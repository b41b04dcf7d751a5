//! Causal grouped-query attention that keeps no matrix of rows by keys: forward, backward, decoding. The arithmetic is
//! that of FlashAttention-2 (Dao 2023), as in the WGSL of these names.

mod backward_kv;
mod backward_q;
mod cut;
mod decode;
mod forward;
#[cfg(test)]
mod tests;
mod tile;

pub use backward_kv::BackwardKv;
pub use backward_q::BackwardQ;
pub use decode::Decode;
pub use forward::Forward;

/// The score of a key that a row does not see. Its exponential is zero.
const HIDDEN: f32 = -1.0e30;
