//! DoRA's magnitudes, and what is known of the rows that they scale: ‖w‖² of the weight's, which stay, and the norms of
//! those of W + s·B·A, which every forward pass computes again.

use std::ops::Range;

use super::lora::{Lora, LoraPanel, STEP};
use crate::adapter::magnitude_name;
use crate::device::Store;
use crate::error::Result;
use crate::kernels::linear;
use crate::kernels::{Recorder, dora};
use crate::memory::{Class, Tensor};
use crate::model::weights::{Model, Stacked};

/// Of all panels, one behind another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dora {
    squares: Tensor,
    norms: Tensor,
}

/// Where a panel has its part of that, in values.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DoraPlace {
    squares_first: usize,
    norms_first: usize,
}

/// Lays out what is known of the rows.
#[derive(Default)]
pub(super) struct DoraRows {
    squares: usize,
    norms: usize,
}

impl DoraRows {
    /// Norms for the panel of all modules of a product: as many as it has magnitudes, in the same places.
    pub(super) fn of_panel(&mut self, panel: &mut LoraPanel) {
        panel.dora.norms_first = self.norms;
        self.norms += panel.m_len.next_multiple_of(STEP);
    }

    /// Squares for what a product has of a panel.
    pub(super) fn of_part(&mut self, mut panel: LoraPanel, stacked: &Stacked) -> LoraPanel {
        panel.dora.squares_first = self.squares;
        self.squares += stacked.cols().next_multiple_of(STEP);
        panel
    }

    pub(super) fn keep(&self, store: &mut Store) -> Result<Dora> {
        let mut keep = |elements: usize| store.keep(Class::Adapter, "norms of weights", elements);
        Ok(Dora { squares: keep(self.squares)?, norms: keep(self.norms)? })
    }
}

impl Lora {
    /// The norms of a panel's rows, placed as its magnitudes are; `None` without DoRA.
    pub(in crate::model) fn norms(&self, panel: &LoraPanel) -> Option<Tensor> {
        let norms = self.dora?.norms;
        Some(norms.slice(4 * panel.dora.norms_first as u64, 4 * panel.m_len as u64))
    }

    /// Records the norms of all rows of W + s·B·A as the factors are now, for passes whose factors are scaled by
    /// `lora_scale`. Without DoRA there are none.
    pub(in crate::model) fn record_norms(&self, rec: &mut Recorder, model: &Model, lora_scale: f32) {
        (0..self.panels.len()).for_each(|layer| self.record_norms_of(rec, model, layer, lora_scale));
    }

    /// Records the norms of a layer's rows alone.
    pub(in crate::model) fn record_norms_of(
        &self,
        rec: &mut Recorder,
        model: &Model,
        layer: usize,
        lora_scale: f32,
    ) {
        for (panel, stacked) in self.panels_of_layer(model, layer) {
            let Some((squares, norms)) = self.squares(panel, stacked).zip(self.norms(panel)) else { return };
            let (rows, cols) = (panel.modules * self.rank(), stacked.cols());
            let (depth, a) = (stacked.inputs(), self.a(panel));
            let products = rec.transient(rows * cols);
            let params = linear::Params {
                true_depth: depth.real as u32,
                ..linear::Params::plain(rows, cols, depth.padded)
            };
            linear::forward(rec, params, a, stacked.weight, None, None, products);
            let gram = rec.transient(rows * rows);
            linear::narrow(rec, linear::Params::plain(rows, rows, depth.padded), a, a, gram);
            let tensors = dora::Norms { squares, products, gram, lora_b: self.b(panel), norms };
            let scale = panel.scale.map(|scale| lora_scale * scale);
            dora::norms(rec, dora::Params { scale, ..self.dora_params(panel, cols) }, tensors);
        }
    }

    /// What DoRA's kernels compute with for a product of `cols` columns, by itself.
    pub(in crate::model) fn dora_params(&self, panel: &LoraPanel, cols: usize) -> dora::Params {
        dora::Params {
            rows: 0,
            cols: cols as u32,
            stride: cols as u32,
            offset: 0,
            rank: self.rank() as u32,
            t_stride: (panel.modules * self.rank()) as u32,
            add_residual: 0,
            minus: 0.0,
            section_end: panel.section_end,
            t_offset: panel.t_offset,
            b_base: panel.b_base,
            scale: panel.scale,
        }
    }

    /// Records what is known of the weights' own rows.
    pub(super) fn record_squares(&self, rec: &mut Recorder, model: &Model) {
        for (panel, stacked) in self.panels_of(model) {
            let Some(squares) = self.squares(panel, stacked) else { return };
            let depth = stacked.inputs();
            let params = linear::Params {
                true_depth: depth.real as u32,
                ..linear::Params::plain(1, stacked.cols(), depth.padded)
            };
            dora::squares(rec, params, stacked.weight, squares);
        }
    }

    /// Records the magnitudes that change nothing: the norms themselves, as they are after [`Lora::record_norms`].
    pub(super) fn record_magnitudes(&self, rec: &mut Recorder, model: &Model) {
        for (panel, _) in self.panels_of(model) {
            if let Some(norms) = self.norms(panel) {
                rec.copy(norms, self.m(panel));
            }
        }
    }

    /// Writes the magnitudes of every module as `rows` gives them by name.
    pub(super) fn write_magnitudes(
        &self,
        store: &Store,
        rows: &mut dyn FnMut(&str, Range<usize>) -> Vec<f32>,
    ) {
        if self.dora.is_none() {
            return;
        }
        for factor in self.factors() {
            let place = factor.magnitudes();
            let values = rows(&magnitude_name(&factor.module.path), place.rows.clone());
            store.write_at(self.params(place.segment), 4 * place.first as u64, &values);
        }
    }

    fn squares(&self, panel: &LoraPanel, stacked: &Stacked) -> Option<Tensor> {
        let squares = self.dora?.squares;
        Some(squares.slice(4 * panel.dora.squares_first as u64, 4 * stacked.cols() as u64))
    }

    /// Every panel with its product.
    fn panels_of<'a>(&'a self, model: &'a Model) -> impl Iterator<Item = (&'a LoraPanel, &'a Stacked)> {
        (0..self.panels.len()).flat_map(move |layer| self.panels_of_layer(model, layer))
    }

    /// Those of a layer.
    fn panels_of_layer<'a>(
        &'a self,
        model: &'a Model,
        layer: usize,
    ) -> impl Iterator<Item = (&'a LoraPanel, &'a Stacked)> {
        let products = model.layers[layer].linear();
        let panels = self.panels[layer].0.iter().flatten();
        panels.zip(products).filter_map(|(panel, stacked)| Some((panel.as_ref()?, stacked)))
    }
}
