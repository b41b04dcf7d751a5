//! Every kernel against its plain twin, on the machine's own adapter.

mod adafactor;
mod adamw;
mod attention;
mod bias;
mod cross_entropy;
mod cross_entropy_chunks;
mod dora;
mod dropout;
mod embedding;
mod glu;
#[path = "../support/gpu.rs"]
mod gpu;
mod grad_norm;
mod harness;
mod head_norm;
mod kv_append;
mod linear;
mod mezo;
mod nested_scales;
mod preference;
mod rms_norm;
mod rope;
mod rounding;
mod rows;
mod sgd;
