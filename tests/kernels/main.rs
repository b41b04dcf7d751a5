//! Every kernel against its plain twin, on the machine's own adapter.

mod adamw;
mod attention;
mod bias;
mod cross_entropy;
mod dropout;
mod embedding;
mod grad_norm;
mod harness;
mod kv_append;
mod head_norm;
mod linear;
mod rms_norm;
mod rope;
mod rows;
mod swiglu;
