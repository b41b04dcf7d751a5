//! What the processor runs of a recording: the same calls, by the names of its kernels.

use crate::cpu::{Call, Calls};
use crate::kernels::lora_grad::Along;
use crate::kernels::recorder::{Kernel, Op, Recorder};
use crate::memory::{read, write};

/// What the processor runs of a step, whose sizes are `recordings`, largest first, all alike.
pub(super) fn calls(recordings: &[Recorder]) -> Calls {
    let largest = &recordings[0];
    let program = |(program, ops): (usize, &Vec<Op>)| -> Vec<Call> {
        let of_sizes =
            |index: usize| recordings.iter().map(move |recording| &recording.programs[program][index]);
        ops.iter().enumerate().map(|(index, op)| call(op, of_sizes(index))).collect()
    };
    Calls {
        sizes: recordings.len(),
        transients: largest.transients.clone(),
        programs: largest.programs.iter().enumerate().map(program).collect(),
    }
}

/// An operation of the largest size, which is `sizes` in each.
fn call<'a>(op: &Op, sizes: impl Iterator<Item = &'a Op>) -> Call {
    let (kernel, bindings) = match op {
        Op::Call(call) => (name(call.kernel), call.bindings.clone()),
        Op::Clear(tensor) => ("clear".to_owned(), vec![write(*tensor)]),
        Op::Copy { from, to } => ("copy".to_owned(), vec![read(*from), write(*to)]),
    };
    let params = sizes.map(|op| match op {
        Op::Call(call) => call.params_bytes().to_vec(),
        Op::Clear(_) | Op::Copy { .. } => Vec::new(),
    });
    Call { kernel, bindings, params: params.collect() }
}

/// The name of a kernel in the table of `tabtune-cpu`.
fn name(kernel: Kernel) -> String {
    let fixed = match kernel {
        Kernel::AdafactorMoments => "adafactor_moments",
        Kernel::AdafactorRatios => "adafactor_ratios",
        Kernel::AdafactorScales => "adafactor_scales",
        Kernel::AdafactorSquares => "adafactor_squares",
        Kernel::AdafactorUpdate => "adafactor_update",
        Kernel::AdamW => "adamw",
        Kernel::AttentionForward => "attention_forward",
        Kernel::AttentionDecode => "attention_decode",
        Kernel::AttentionBackwardQ => "attention_backward_q",
        Kernel::AttentionBackwardKv => "attention_backward_kv",
        Kernel::Bias => "bias",
        Kernel::BiasGradient => "bias_gradient",
        Kernel::CrossEntropyForwardBackward => "cross_entropy_forward_backward",
        Kernel::CrossEntropyChunk => "cross_entropy_chunk",
        Kernel::CrossEntropyFinish => "cross_entropy_finish",
        Kernel::CrossEntropyLosses => "cross_entropy_losses",
        Kernel::DoraSquares(format) => return format!("dora_squares.{}", format.name()),
        Kernel::DoraNorms => "dora_norms",
        Kernel::DoraForward => "dora_forward",
        Kernel::DoraBackward => "dora_backward",
        Kernel::DoraMagnitudeGradient => "dora_magnitude_gradient",
        Kernel::DropoutForward => "dropout_forward",
        Kernel::DropoutBackwardAdd => "dropout_backward_add",
        Kernel::EmbeddingBackward => "embedding_backward",
        Kernel::EmbeddingForward(format) => return format!("embedding_forward.{}", format.name()),
        Kernel::GluForward(act) => return format!("glu_forward.{}", act.name()),
        Kernel::GluBackward(act) => return format!("glu_backward.{}", act.name()),
        Kernel::GradNormLossSum => "grad_norm_loss_sum",
        Kernel::GradNormSquares => "grad_norm_squares",
        Kernel::GradNormFinish => "grad_norm_finish",
        Kernel::HeadNormForward => "head_norm_forward",
        Kernel::HeadNormBackward => "head_norm_backward",
        Kernel::HeadNormWeightGradient => "head_norm_weight_gradient",
        Kernel::KvAppend => "kv_append",
        Kernel::LinearDecode(format) => return format!("linear_decode.{}", format.name()),
        Kernel::LinearForward(weight) => return format!("linear_forward.{}", weight.format.name()),
        Kernel::LinearBackward(weight) => return format!("linear_backward.{}", weight.format.name()),
        Kernel::LinearNarrow => "linear_narrow",
        Kernel::LoraGradT { .. } => "lora_grad_t",
        Kernel::LoraGradOuter(Along::U) => "lora_grad_outer.u",
        Kernel::LoraGradOuter(Along::V) => "lora_grad_outer.v",
        Kernel::MezoPerturb => "mezo_perturb",
        Kernel::MezoMisses => "mezo_misses",
        Kernel::MezoLosses => "mezo_losses",
        Kernel::MezoFinish => "mezo_finish",
        Kernel::MezoUpdate => "mezo_update",
        Kernel::NestedScales => "nested_scales",
        Kernel::PreferenceCpo => "preference_cpo",
        Kernel::PreferenceDpo => "preference_dpo",
        Kernel::PreferenceKto => "preference_kto",
        Kernel::PreferenceOrpo => "preference_orpo",
        Kernel::PreferenceSpread => "preference_spread",
        Kernel::PreferenceSums => "preference_sums",
        Kernel::RmsNormForward { has_residual: false } => "rms_norm_forward.plain",
        Kernel::RmsNormForward { has_residual: true } => "rms_norm_forward.residual",
        Kernel::RmsNormBackward { has_residual: false } => "rms_norm_backward.plain",
        Kernel::RmsNormBackward { has_residual: true } => "rms_norm_backward.residual",
        Kernel::RmsNormWeightGradient => "rms_norm_weight_gradient",
        Kernel::Rope => "rope",
        Kernel::Rounding(format) => return format!("rounding.{}", format.name()),
        Kernel::RowsGather => "rows_gather",
        Kernel::RowsScale => "rows_scale",
        Kernel::RowsScatter => "rows_scatter",
        Kernel::Sgd => "sgd",
    };
    fixed.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::WeightFormat;
    use crate::kernels::embedding;
    use crate::kernels::glu::Act;
    use crate::kernels::linear::{Role, Stored};

    #[test]
    fn the_processor_has_every_kernel() {
        use Kernel::*;
        let mut kernels = vec![
            AdafactorMoments,
            AdafactorRatios,
            AdafactorScales,
            AdafactorSquares,
            AdafactorUpdate,
            AdamW,
            AttentionForward,
            AttentionDecode,
            AttentionBackwardQ,
            AttentionBackwardKv,
            Bias,
            BiasGradient,
            CrossEntropyForwardBackward,
            CrossEntropyChunk,
            CrossEntropyFinish,
            CrossEntropyLosses,
            DoraNorms,
            DoraForward,
            DoraBackward,
            DoraMagnitudeGradient,
            DropoutForward,
            DropoutBackwardAdd,
            EmbeddingBackward,
            GradNormLossSum,
            GradNormSquares,
            GradNormFinish,
            HeadNormForward,
            HeadNormBackward,
            HeadNormWeightGradient,
            KvAppend,
            LinearNarrow,
            LoraGradT { sections: 3 },
            LoraGradOuter(Along::U),
            LoraGradOuter(Along::V),
            MezoPerturb,
            MezoMisses,
            MezoLosses,
            MezoFinish,
            MezoUpdate,
            NestedScales,
            PreferenceCpo,
            PreferenceDpo,
            PreferenceKto,
            PreferenceOrpo,
            PreferenceSpread,
            PreferenceSums,
            RmsNormWeightGradient,
            Rope,
            RowsGather,
            RowsScale,
            RowsScatter,
            Sgd,
        ];
        for has_residual in [false, true] {
            kernels.extend([RmsNormForward { has_residual }, RmsNormBackward { has_residual }]);
        }
        kernels.extend([WeightFormat::Bf16, WeightFormat::F16].map(Rounding));
        kernels.extend(embedding::FORMATS.map(EmbeddingForward));
        kernels.extend(Act::ALL.into_iter().flat_map(|act| [GluForward(act), GluBackward(act)]));
        for format in WeightFormat::ALL {
            let weight = Stored { format, role: Role::Alone };
            kernels.extend([DoraSquares(format), LinearForward(weight), LinearBackward(weight)]);
            // Nothing is left to decode in f32.
            kernels.extend((format != WeightFormat::F32).then_some(LinearDecode(format)));
        }
        for kernel in kernels {
            assert!(tabtune_cpu::index(&name(kernel)).is_some(), "{kernel:?}");
        }
    }
}
