//! What a GPU runs of a recording: shaders, workgroups and scratch that suit it.
//!
//! Which kernel takes which variant stands beside its host half. What may not depend on the size is decided by the
//! largest recording of a step.

use std::collections::HashMap;
use std::rc::Rc;

use super::tiles::Direction;
use super::{GpuTarget, Sizes};
use crate::format::WeightFormat;
use crate::gpu::{self, Dispatch, Dispatches, Piece};
use crate::kernels::linear::{Stored, Tile};
use crate::kernels::recorder::{Kernel, Op, Recorder};
use crate::kernels::{
    adafactor, adamw, attention, bias, cross_entropy, dora, dropout, embedding, glu, grad_norm, head_norm,
    kv_append, linear, lora_grad, mezo, nested_scales, preference, rms_norm, rope, rounding, rows, sgd,
};
use crate::memory::{Tensor, add_transient, read, write};

/// What `target` runs of a step, whose sizes are `recordings`, largest first, all alike.
pub(super) fn dispatches(recordings: &[Recorder], target: &GpuTarget) -> Dispatches {
    let largest = &recordings[0];
    let mut out = Dispatches { transients: largest.transients.clone(), programs: Vec::new() };
    let mut cut = HashMap::new();
    for (program, ops) in largest.programs.iter().enumerate() {
        out.program();
        for (index, op) in ops.iter().enumerate() {
            match op {
                Op::Clear(tensor) => out.push(gpu::Op::Clear(*tensor)),
                Op::Copy { from, to } => out.push(gpu::Op::Copy { from: *from, to: *to }),
                Op::Call(_) => {
                    let of_sizes = recordings.iter().map(|recording| &recording.programs[program][index]);
                    let calls = of_sizes.filter_map(|op| match op {
                        Op::Call(call) => Some(call),
                        Op::Clear(_) | Op::Copy { .. } => None,
                    });
                    Lowering { target, out: &mut out, cut: &mut cut }.call(&Sizes::new(calls.collect()));
                }
            }
        }
    }
    out
}

/// A call on its way to what it becomes.
struct Lowering<'a> {
    target: &'a GpuTarget,
    out: &'a mut Dispatches,
    /// The pieces of the last dispatch of each shader.
    cut: &'a mut HashMap<String, Rc<[Vec<Piece>]>>,
}

impl Lowering<'_> {
    fn call(&mut self, call: &Sizes<'_>) {
        let target = self.target;
        let mut dispatch = match call.call().kernel {
            Kernel::AdafactorMoments => adafactor::lower_moments(call),
            Kernel::AdafactorRatios => adafactor::lower_ratios(call),
            Kernel::AdafactorScales => adafactor::lower_scales(call),
            Kernel::AdafactorSquares => adafactor::lower_squares(call),
            Kernel::AdafactorUpdate => adafactor::lower_update(call),
            Kernel::AdamW => adamw::lower(call),
            Kernel::AttentionForward => attention::lower_forward(target, call),
            Kernel::AttentionDecode => attention::lower_decode(target, call),
            Kernel::AttentionBackwardQ => attention::lower_backward_q(target, call),
            Kernel::AttentionBackwardKv => attention::lower_backward_kv(target, call),
            Kernel::Bias => bias::lower(call),
            Kernel::BiasGradient => bias::lower_gradient(call),
            Kernel::CrossEntropyForwardBackward => cross_entropy::lower_forward_backward(target, call),
            Kernel::CrossEntropyChunk => cross_entropy::lower_chunk(target, call),
            Kernel::CrossEntropyFinish => cross_entropy::lower_finish(call),
            Kernel::CrossEntropyLosses => cross_entropy::lower_losses(call),
            Kernel::DoraSquares(format) => dora::lower_squares(format, call),
            Kernel::DoraNorms => dora::lower_norms(call),
            Kernel::DoraForward => dora::lower_forward(call),
            Kernel::DoraBackward => dora::lower_backward(call),
            Kernel::DoraMagnitudeGradient => dora::lower_magnitude_gradient(call),
            Kernel::DropoutForward => dropout::lower_forward(call),
            Kernel::DropoutBackwardAdd => dropout::lower_backward_add(call),
            Kernel::EmbeddingForward(format) => embedding::lower(format, call),
            Kernel::EmbeddingBackward => embedding::lower_backward(call),
            Kernel::GluForward(act) => glu::lower_forward(act, call),
            Kernel::GluBackward(act) => glu::lower_backward(act, call),
            Kernel::GradNormLossSum => grad_norm::lower_loss_sum(call),
            Kernel::GradNormSquares => grad_norm::lower_squares(call),
            Kernel::GradNormFinish => grad_norm::lower_finish(call),
            Kernel::HeadNormForward => head_norm::lower_forward(target, call),
            Kernel::HeadNormBackward => head_norm::lower_backward(target, call),
            Kernel::HeadNormWeightGradient => head_norm::lower_weight_gradient(call),
            Kernel::KvAppend => kv_append::lower(call),
            Kernel::LinearDecode(format) => linear::lower_decode(format, call),
            Kernel::LinearForward(weight) => self.product(Direction::Forward, weight, call),
            Kernel::LinearBackward(weight) => self.product(Direction::Backward, weight, call),
            Kernel::LinearNarrow => linear::lower_narrow(target.tile(), call),
            Kernel::LoraGradT { sections } => lora_grad::lower_t(target.tile(), sections, call),
            Kernel::LoraGradOuter(along) => lora_grad::lower_outer(target.tile(), along, call),
            Kernel::MezoPerturb => mezo::lower_perturb(call),
            Kernel::MezoMisses => mezo::lower_misses(call),
            Kernel::MezoLosses => mezo::lower_losses(call),
            Kernel::MezoFinish => mezo::lower_finish(call),
            Kernel::MezoUpdate => mezo::lower_update(call),
            Kernel::NestedScales => nested_scales::lower(call),
            Kernel::PreferenceCpo => preference::lower_cpo(call),
            Kernel::PreferenceDpo => preference::lower_dpo(call),
            Kernel::PreferenceKto => preference::lower_kto(call),
            Kernel::PreferenceOrpo => preference::lower_orpo(call),
            Kernel::PreferenceSpread => preference::lower_spread(call),
            Kernel::PreferenceSums => preference::lower_sums(call),
            Kernel::RmsNormForward { has_residual } => rms_norm::lower_forward(target, has_residual, call),
            Kernel::RmsNormBackward { has_residual } => rms_norm::lower_backward(target, has_residual, call),
            Kernel::RmsNormWeightGradient => rms_norm::lower_weight_gradient(call),
            Kernel::Rope => rope::lower(call),
            Kernel::Rounding(format) => rounding::lower(format, call),
            Kernel::RowsGather => rows::lower_gather(call),
            Kernel::RowsScale => rows::lower_scale(call),
            Kernel::RowsScatter => rows::lower_scatter(call),
            Kernel::Sgd => sgd::lower(call),
        };
        // Layers are cut alike, and a long pass into so many pieces that those of each layer by itself would take hundreds of
        // megabytes.
        match self.cut.get(&dispatch.shader) {
            Some(pieces) if *pieces == dispatch.pieces => dispatch.pieces = pieces.clone(),
            _ => {
                self.cut.insert(dispatch.shader.clone(), dispatch.pieces.clone());
            }
        }
        self.out.push(gpu::Op::Dispatch(dispatch));
    }

    /// A product by the tile that was chosen for it, on its weight as that tile reads it.
    fn product(&mut self, direction: Direction, weight: Stored, call: &Sizes<'_>) -> Dispatch {
        let tile = self.target.tiles().tile(direction, &call.largest(), weight).on(weight.format);
        let scratch = self.decoded(direction, tile, weight, call);
        let format = if scratch.is_some() { WeightFormat::F32 } else { weight.format };
        let mut dispatch = match direction {
            Direction::Forward => linear::lower_forward(tile, format, call),
            Direction::Backward => linear::lower_backward(tile, format, call),
        };
        if let Some(scratch) = scratch {
            dispatch.bindings[linear::WEIGHT].fill(read(scratch));
        }
        dispatch
    }

    /// The weight decoded into scratch, where a tile wants that or cannot read it. One too large for a binding is decoded
    /// where it is used; loading cuts those that not all tiles read.
    fn decoded(
        &mut self,
        direction: Direction,
        tile: Tile,
        weight: Stored,
        call: &Sizes<'_>,
    ) -> Option<Tensor> {
        let largest: linear::Params = call.largest();
        let linear::Params { cols, depth, .. } = largest;
        let reads = tile.reads(weight.format);
        let decodes = match reads {
            true => tile.decodes() && weight.format != WeightFormat::F32,
            false => direction == Direction::Backward || !linear::has_few_rows(largest),
        };
        let fits = linear::fits_scratch(cols as usize, depth as usize);
        assert!(fits || !decodes || reads, "a weight that the tile does not read was not cut");
        if !decodes || !fits {
            return None;
        }
        let scratch = add_transient(&mut self.out.transients, (cols * depth) as usize);
        let [values, scales] = [0, 1].map(|index| call.bindings()[linear::WEIGHT][index]);
        let bindings = vec![write(scratch), values, scales];
        let dispatch = Dispatch { bindings, ..linear::lower_decode(weight.format, call) };
        self.out.push(gpu::Op::Dispatch(dispatch));
        Some(scratch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::linear::{Params, Weight};
    use crate::kernels::rms_norm;

    /// A norm, a product with a weight of a layer and one with a weight by itself, on `rows` rows.
    fn recording(rows: usize) -> Recorder {
        let (cols, depth) = (128, 64);
        let mut rec = Recorder::new();
        rec.program();
        let [inp, x, y, z] = [depth, depth, cols, depth].map(|width| rec.transient(rows * width));
        let (rstd, [norm, values, scales]) = (rec.transient(rows), [64, 1024, 128].map(|n| rec.transient(n)));
        let params = rms_norm::Params { rows: rows as u32, cols: 64, stride: 64, eps: 1e-6 };
        rms_norm::forward(
            &mut rec,
            params,
            rms_norm::Forward { inp, weight: norm, residual: None, out: x, rstd },
        );
        let weight = Weight { role: linear::Role::Layer, ..Weight::new(WeightFormat::Nf4, values, scales) };
        linear::forward(&mut rec, Params::plain(rows, cols, depth), x, weight, None, None, y);
        rec.clear(z);
        linear::backward(&mut rec, Params::plain(rows, cols, depth), y, Weight::f32(values), None, None, z);
        rec
    }

    fn names(dispatches: &Dispatches) -> Vec<&str> {
        let ops = dispatches.programs.iter().flatten();
        ops.map(|op| match op {
            gpu::Op::Dispatch(dispatch) => dispatch.shader.as_str(),
            gpu::Op::Clear(_) => "clear",
            gpu::Op::Copy { .. } => "copy",
        })
        .collect()
    }

    #[test]
    fn a_recording_becomes_what_each_target_runs_best() {
        let sizes = [recording(64), recording(4)];
        let lowered = |tile: Tile| dispatches(&sizes, &tile.into());
        let expected = ["rms_norm_forward.plain.group", "linear_forward.shared64.nf4", "clear"];
        assert_eq!(names(&lowered(Tile::Shared64))[..3], expected);
        let expected = [
            "rms_norm_forward.plain.alone",
            "linear_decode.nf4",
            "linear_forward.direct.f32",
            "clear",
            "linear_backward.direct.f32",
        ];
        assert_eq!(names(&lowered(Tile::Direct)), expected);
        let subgroups = lowered(Tile::Subgroup4);
        assert_eq!(names(&subgroups)[1], "linear_forward.subgroup4.nf4");
        let few_rows = dispatches(&sizes[1..], &Tile::Subgroup4.into());
        assert_eq!(names(&few_rows)[1], "linear_lanes_row.subgroup4.nf4");
    }

    #[test]
    fn a_weight_is_decoded_for_tiles_that_do_not_read_it() {
        let lowered = |tile: Tile| {
            let mut rec = Recorder::new();
            rec.program();
            let [x, values, scales, y] = [16 * 256, 64 * 32, 64 * 4, 16 * 64].map(|n| rec.transient(n));
            let weight = Weight::new(WeightFormat::Q4K, values, scales);
            linear::forward(&mut rec, Params::plain(16, 64, 256), x, weight, None, None, y);
            dispatches(&[rec], &tile.into())
        };
        assert_eq!(names(&lowered(Tile::Shared64)), ["linear_forward.shared64.q4_k"]);
        assert_eq!(lowered(Tile::Shared64).transients.len(), 4);
        // No tile stages it as f16, and another stands in for one that would.
        assert_eq!(names(&lowered(Tile::Half64)), ["linear_forward.shared64.q4_k"]);
        for (tile, product) in [
            (Tile::Decoded64, "linear_forward.shared64.f32"),
            (Tile::Shared32, "linear_forward.shared32.f32"),
            (Tile::Half128, "linear_forward.shared128.f32"),
        ] {
            assert_eq!(names(&lowered(tile)), ["linear_decode.q4_k", product]);
        }
    }

    /// What the largest size decides holds for the others, whatever they would take by themselves.
    #[test]
    fn a_dispatch_has_its_workgroups_in_every_size() {
        let lowered = dispatches(&[recording(64), recording(8), recording(4)], &Tile::Direct.into());
        let gpu::Op::Dispatch(product) = &lowered.programs[0][2] else { panic!("it is the product") };
        let workgroups: Vec<_> = product.pieces.iter().map(|pieces| pieces[0].workgroups).collect();
        assert_eq!(workgroups, [[8, 1, 1], [1, 1, 1], [1, 1, 1]]);
        let gpu::Op::Dispatch(decoding) = &lowered.programs[0][1] else { panic!("it is the decoding") };
        let [scratch, rest @ ..] = &decoding.tensors()[..] else { panic!("it writes scratch") };
        assert_eq!(product.tensors()[1..3], [*scratch, *scratch]);
        assert_eq!(rest, &recording(64).programs[0][1].tensors()[1..3]);
        assert_eq!(
            (lowered.transients.len(), scratch.size()),
            (recording(64).transients.len() + 1, 4 * 128 * 64)
        );
    }
}
