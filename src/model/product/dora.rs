//! DoRA's part of products: Y = m/n·Z + residual, where Z = X·Wᵀ + T·Bᵀ.
//!
//! With dropout PEFT adds (m/n − 1)·X'·Wᵀ + m/n·T·Bᵀ to X·Wᵀ, where X' is X with dropout, which is m/n·Z + (X − X')·Wᵀ
//! with a Z of X' (`DoraLinearVariant` in `peft/tuners/lora/variants.py`).

use super::{Adapter, GroupProducts, Kept, Product};
use crate::kernels::linear::{self, Panel};
use crate::kernels::{Recorder, dora, dropout};
use crate::memory::Tensor;

/// What scales the columns of a product.
#[derive(Clone, Copy)]
pub(super) struct Scaling {
    params: dora::Params,
    magnitudes: Tensor,
    norms: Tensor,
}

impl GroupProducts<'_> {
    /// Records the output of a product from its Z into `y`, with `residual` added.
    pub(super) fn scaled(
        &self,
        rec: &mut Recorder,
        product: &Product,
        (x, z): (Tensor, Tensor),
        residual: Option<Tensor>,
        y: Tensor,
    ) {
        let Scaling { params, magnitudes, norms } = product.scaling().expect("what has a Z is scaled");
        let residual = match self.dropout_params(x) {
            None => residual,
            Some((params, seed)) => {
                let dropped_only = rec.transient((x.size() / 4) as usize);
                rec.copy(x, dropped_only);
                let params = dropout::Params { scale: -params.scale, ..params };
                dropout::backward_add(rec, params, seed, x, dropped_only);
                let rest = rec.transient((y.size() / 4) as usize);
                product.forward(rec, dropped_only, None, residual, rest);
                Some(rest)
            }
        };
        let params = dora::Params { add_residual: u32::from(residual.is_some()), ..params };
        dora::forward(rec, params, dora::Forward { z, magnitudes, norms, residual, y });
    }
}

impl Product<'_> {
    /// What scales it; `None` without DoRA.
    pub(super) fn scaling(&self) -> Option<Scaling> {
        let Adapter { panel, lora } = self.adapter?;
        let norms = lora.norms(panel)?;
        let linear::Params { rows, y_stride, y_offset, cols, .. } = self.params;
        let params = dora::Params {
            rows,
            stride: y_stride,
            offset: y_offset,
            ..lora.dora_params(panel, cols as usize)
        };
        Some(Scaling { params, magnitudes: lora.m(panel), norms })
    }

    /// Where Z and its gradient lie: without other products beside them.
    fn tight(&self) -> linear::Params {
        linear::Params { y_stride: self.params.cols, y_offset: 0, ..self.params }
    }

    /// Records Z; `None` without DoRA.
    pub(super) fn z(&self, rec: &mut Recorder, dropped: Tensor, t: Tensor) -> Option<Tensor> {
        self.scaling()?;
        let z = self.pass.activation(rec, self.params.cols as usize);
        let panel = Panel { t, factor: self.adapter?.b() };
        linear::forward(rec, self.tight(), dropped, self.stacked.weight, Some(panel), None, z);
        Some(z)
    }

    /// The gradient of X·Wᵀ + T·Bᵀ and where it lies, from that of the output. With DoRA the gradient of the magnitudes
    /// is recorded.
    pub(super) fn own_gradient(
        &self,
        rec: &mut Recorder,
        dy: Tensor,
        kept: Option<Kept>,
    ) -> (linear::Params, Tensor) {
        let Some((scaling, z)) = self.scaling().zip(kept.and_then(|kept| kept.z)) else {
            return (self.params, dy);
        };
        let Scaling { params, magnitudes, norms } = scaling;
        if let Some(gradient) = self.pass.gradient(magnitudes) {
            dora::magnitude_gradient(rec, params, dora::MagnitudeGradient { dy, z, norms, gradient });
        }
        let dz = self.pass.activation(rec, self.params.cols as usize);
        dora::backward(rec, params, dora::Backward { dy, magnitudes, norms, dz });
        (self.tight(), dz)
    }

    /// Records the gradient of X' by itself: (m/n − 1)·dY·W + dT·A.
    pub(super) fn through_both(
        &self,
        rec: &mut Recorder,
        Scaling { params, magnitudes, norms }: Scaling,
        (dy, dt): (Tensor, Tensor),
        out: Tensor,
    ) {
        let dz = self.pass.activation(rec, self.params.cols as usize);
        let params = dora::Params { minus: 1.0, ..params };
        dora::backward(rec, params, dora::Backward { dy, magnitudes, norms, dz });
        self.input_gradient(rec, (self.tight(), dz), Some(dt), None, out);
    }
}
