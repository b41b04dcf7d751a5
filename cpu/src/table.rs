//! The kernels by name.

use crate::args::Args;
use crate::simd::{Level, Vector};
use crate::{
    adafactor, adamw, attention, bias, cross_entropy, dora, dropout, embedding, glu, grad_norm, head_norm,
    kv_append, linear, lora_grad, memory, mezo, nested_scales, preference, rms_norm, rope, rounding, rows,
    sgd,
};

/// A kernel or one variant of it.
pub trait Kernel {
    /// The tasks that a call is cut into, by its params and the sizes of its operands alone.
    fn tasks(args: &Args) -> u32;

    /// Runs one task. Implementations are `#[inline(always)]`, and so is all that they call with `V`, or it goes through
    /// [`Vector::outlined`]: otherwise its instructions are not those of `V`.
    fn run<V: Vector>(args: &Args, task: u32, scratch: &mut [f32]);
}

/// Runs one task of a kernel.
pub type Run = unsafe fn(&Args, u32, &mut [f32]);

/// A kernel in the table.
pub struct Entry {
    pub tasks: fn(&Args) -> u32,
    unfused: Run,
    fused: Run,
}

impl Entry {
    pub fn run(&self, level: Level) -> Run {
        match level {
            Level::Unfused => self.unfused,
            Level::Fused => self.fused,
        }
    }

    const fn of<K: Kernel>() -> Self {
        Entry { tasks: K::tasks, unfused: crate::simd::unfused::<K>, fused: crate::simd::fused::<K> }
    }
}

/// Names beside their kernels. Names are a table of their own, so that who looks one up links no kernel.
macro_rules! table {
    ($($name:literal: $kernel:ty,)*) => {
        /// The names of all kernels and variants.
        pub const NAMES: [&str; [$($name),*].len()] = [$($name),*];

        /// No static, which a program would compile with all kernels though it calls none.
        pub const ENTRIES: &[Entry; NAMES.len()] = &[$(Entry::of::<$kernel>()),*];
    };
}

table! {
    "adafactor_moments": adafactor::Moments,
    "adafactor_ratios": adafactor::Ratios,
    "adafactor_scales": adafactor::Scales,
    "adafactor_squares": adafactor::Squares,
    "adafactor_update": adafactor::Update,
    "adamw": adamw::AdamW,
    "attention_backward_kv": attention::BackwardKv,
    "attention_backward_q": attention::BackwardQ,
    "attention_decode": attention::Decode,
    "attention_forward": attention::Forward,
    "bias": bias::Bias,
    "bias_gradient": bias::Gradient,
    "clear": memory::Clear,
    "copy": memory::Copy,
    "cross_entropy_chunk": cross_entropy::Chunk,
    "cross_entropy_finish": cross_entropy::Finish,
    "cross_entropy_forward_backward": cross_entropy::ForwardBackward,
    "cross_entropy_losses": cross_entropy::Losses,
    "dora_backward": dora::Backward,
    "dora_forward": dora::Forward,
    "dora_magnitude_gradient": dora::MagnitudeGradient,
    "dora_norms": dora::Norms,
    "dora_squares.bf16": dora::Squares<linear::Bf16>,
    "dora_squares.f16": dora::Squares<linear::F16>,
    "dora_squares.f32": dora::Squares<linear::F32>,
    "dora_squares.fp4": dora::Squares<linear::Fp4>,
    "dora_squares.fp4_any": dora::Squares<linear::Fp4Any>,
    "dora_squares.int8": dora::Squares<linear::Int8>,
    "dora_squares.nf4": dora::Squares<linear::Nf4>,
    "dora_squares.nf4_any": dora::Squares<linear::Nf4Any>,
    "dora_squares.q4_0": dora::Squares<linear::Q4_0>,
    "dora_squares.q4_1": dora::Squares<linear::Q4_1>,
    "dora_squares.q4_k": dora::Squares<linear::Q4K>,
    "dora_squares.q5_0": dora::Squares<linear::Q5_0>,
    "dora_squares.q5_1": dora::Squares<linear::Q5_1>,
    "dora_squares.q5_k": dora::Squares<linear::Q5K>,
    "dora_squares.q6_k": dora::Squares<linear::Q6K>,
    "dora_squares.q8_0": dora::Squares<linear::Q8_0>,
    "dropout_backward_add": dropout::BackwardAdd,
    "dropout_forward": dropout::Forward,
    "embedding_backward": embedding::Backward,
    "embedding_forward.bf16": embedding::Forward<linear::Bf16>,
    "embedding_forward.f16": embedding::Forward<linear::F16>,
    "embedding_forward.f32": embedding::Forward<linear::F32>,
    "embedding_forward.q4_0": embedding::Forward<linear::Q4_0>,
    "embedding_forward.q4_1": embedding::Forward<linear::Q4_1>,
    "embedding_forward.q4_k": embedding::Forward<linear::Q4K>,
    "embedding_forward.q5_0": embedding::Forward<linear::Q5_0>,
    "embedding_forward.q5_1": embedding::Forward<linear::Q5_1>,
    "embedding_forward.q5_k": embedding::Forward<linear::Q5K>,
    "embedding_forward.q6_k": embedding::Forward<linear::Q6K>,
    "embedding_forward.q8_0": embedding::Forward<linear::Q8_0>,
    "glu_backward.gelu_tanh": glu::Backward<glu::GeluTanh>,
    "glu_backward.silu": glu::Backward<glu::Silu>,
    "glu_forward.gelu_tanh": glu::Forward<glu::GeluTanh>,
    "glu_forward.silu": glu::Forward<glu::Silu>,
    "grad_norm_finish": grad_norm::Finish,
    "grad_norm_loss_sum": grad_norm::LossSum,
    "grad_norm_squares": grad_norm::Squares,
    "head_norm_backward": head_norm::Backward,
    "head_norm_forward": head_norm::Forward,
    "head_norm_weight_gradient": head_norm::WeightGradient,
    "kv_append": kv_append::KvAppend,
    "linear_backward.bf16": linear::Backward<linear::Bf16>,
    "linear_backward.f16": linear::Backward<linear::F16>,
    "linear_backward.f32": linear::Backward<linear::F32>,
    "linear_backward.fp4": linear::SharedBackward<linear::Fp4>,
    "linear_backward.fp4_any": linear::SharedBackward<linear::Fp4Any>,
    "linear_backward.int8": linear::SharedBackward<linear::Int8>,
    "linear_backward.nf4": linear::Backward<linear::Nf4>,
    "linear_backward.nf4_any": linear::Backward<linear::Nf4Any>,
    "linear_backward.q4_0": linear::SharedBackward<linear::Q4_0>,
    "linear_backward.q4_1": linear::SharedBackward<linear::Q4_1>,
    "linear_backward.q4_k": linear::SharedBackward<linear::Q4K>,
    "linear_backward.q5_0": linear::SharedBackward<linear::Q5_0>,
    "linear_backward.q5_1": linear::SharedBackward<linear::Q5_1>,
    "linear_backward.q5_k": linear::SharedBackward<linear::Q5K>,
    "linear_backward.q6_k": linear::SharedBackward<linear::Q6K>,
    "linear_backward.q8_0": linear::SharedBackward<linear::Q8_0>,
    "linear_decode.bf16": linear::Decode<linear::Bf16>,
    "linear_decode.f16": linear::Decode<linear::F16>,
    "linear_decode.fp4": linear::Decode<linear::Fp4>,
    "linear_decode.fp4_any": linear::Decode<linear::Fp4Any>,
    "linear_decode.int8": linear::Decode<linear::Int8>,
    "linear_decode.nf4": linear::Decode<linear::Nf4>,
    "linear_decode.nf4_any": linear::Decode<linear::Nf4Any>,
    "linear_decode.q4_0": linear::Decode<linear::Q4_0>,
    "linear_decode.q4_1": linear::Decode<linear::Q4_1>,
    "linear_decode.q4_k": linear::Decode<linear::Q4K>,
    "linear_decode.q5_0": linear::Decode<linear::Q5_0>,
    "linear_decode.q5_1": linear::Decode<linear::Q5_1>,
    "linear_decode.q5_k": linear::Decode<linear::Q5K>,
    "linear_decode.q6_k": linear::Decode<linear::Q6K>,
    "linear_decode.q8_0": linear::Decode<linear::Q8_0>,
    "linear_forward.bf16": linear::Forward<linear::Bf16>,
    "linear_forward.f16": linear::Forward<linear::F16>,
    "linear_forward.f32": linear::Forward<linear::F32>,
    "linear_forward.fp4": linear::SharedForward<linear::Fp4>,
    "linear_forward.fp4_any": linear::SharedForward<linear::Fp4Any>,
    "linear_forward.int8": linear::SharedForward<linear::Int8>,
    "linear_forward.nf4": linear::Forward<linear::Nf4>,
    "linear_forward.nf4_any": linear::Forward<linear::Nf4Any>,
    "linear_forward.q4_0": linear::SharedForward<linear::Q4_0>,
    "linear_forward.q4_1": linear::SharedForward<linear::Q4_1>,
    "linear_forward.q4_k": linear::SharedForward<linear::Q4K>,
    "linear_forward.q5_0": linear::SharedForward<linear::Q5_0>,
    "linear_forward.q5_1": linear::SharedForward<linear::Q5_1>,
    "linear_forward.q5_k": linear::SharedForward<linear::Q5K>,
    "linear_forward.q6_k": linear::SharedForward<linear::Q6K>,
    "linear_forward.q8_0": linear::SharedForward<linear::Q8_0>,
    "linear_narrow": linear::Narrow,
    "lora_grad_outer.u": lora_grad::Outer,
    "lora_grad_outer.v": lora_grad::Outer,
    "lora_grad_t": lora_grad::T,
    "mezo_finish": mezo::Finish,
    "mezo_losses": mezo::Losses,
    "mezo_misses": mezo::Misses,
    "mezo_perturb": mezo::Perturb,
    "mezo_update": mezo::Update,
    "nested_scales": nested_scales::NestedScales,
    "preference_cpo": preference::Cpo,
    "preference_dpo": preference::Dpo,
    "preference_kto": preference::Kto,
    "preference_orpo": preference::Orpo,
    "preference_spread": preference::Spread,
    "preference_sums": preference::Sums,
    "rms_norm_backward.plain": rms_norm::Backward<rms_norm::Plain>,
    "rms_norm_backward.residual": rms_norm::Backward<rms_norm::WithResidual>,
    "rms_norm_forward.plain": rms_norm::Forward<rms_norm::Plain>,
    "rms_norm_forward.residual": rms_norm::Forward<rms_norm::WithResidual>,
    "rms_norm_weight_gradient": rms_norm::WeightGradient,
    "rope": rope::Rope,
    "rounding.bf16": rounding::Rounding<linear::Bf16>,
    "rounding.f16": rounding::Rounding<linear::F16>,
    "rows_gather": rows::Gather,
    "rows_scale": rows::Scale,
    "rows_scatter": rows::Scatter,
    "sgd": sgd::Sgd,
}
