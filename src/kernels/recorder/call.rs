//! A call of a kernel, as model code records it.

use bytemuck::Pod;

use crate::format::WeightFormat;
use crate::kernels::glu::Act;
use crate::kernels::linear::Stored;
use crate::kernels::lora_grad::Along;
use crate::memory::{Binding, Tensor, params_bytes};

/// What is computed, with what of the variant is no device's business: formats, activations, operands that may be
/// missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kernel {
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
    DoraSquares(WeightFormat),
    DoraNorms,
    DoraForward,
    DoraBackward,
    DoraMagnitudeGradient,
    DropoutForward,
    DropoutBackwardAdd,
    EmbeddingForward(WeightFormat),
    EmbeddingBackward,
    GluForward(Act),
    GluBackward(Act),
    GradNormLossSum,
    GradNormSquares,
    GradNormFinish,
    HeadNormForward,
    HeadNormBackward,
    HeadNormWeightGradient,
    KvAppend,
    LinearDecode(WeightFormat),
    LinearForward(Stored),
    LinearBackward(Stored),
    LinearNarrow,
    LoraGradT {
        /// Stacked layers that have LoRA.
        sections: u32,
    },
    LoraGradOuter(Along),
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
    RmsNormForward {
        has_residual: bool,
    },
    RmsNormBackward {
        has_residual: bool,
    },
    RmsNormWeightGradient,
    Rope,
    Rounding(WeightFormat),
    RowsGather,
    RowsScale,
    RowsScatter,
    Sgd,
}

/// A kernel on its operands.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) kernel: Kernel,
    /// Bytes of the kernel's `Params`, padded to a multiple of 16.
    params: Vec<u8>,
    /// In the order of the shader's bindings, from 1 on.
    pub(crate) bindings: Vec<Binding>,
}

impl Call {
    pub(super) fn new<P: Pod>(kernel: Kernel, params: &P, bindings: &[Binding]) -> Self {
        Call { kernel, params: params_bytes(params), bindings: bindings.to_vec() }
    }

    /// The params, whose type the kernel says.
    pub(crate) fn params<P: Pod>(&self) -> P {
        bytemuck::pod_read_unaligned(&self.params[..size_of::<P>()])
    }

    pub(crate) fn params_bytes(&self) -> &[u8] {
        &self.params
    }

    pub(crate) fn tensors(&self) -> Vec<Tensor> {
        self.bindings.iter().map(|binding| binding.tensor).collect()
    }
}
