//! Records the products of a group of modules with their LoRA panels: Y = X·Wᵀ + s·dropout(X)·AᵀBᵀ, scaled by DoRA where
//! there is one. Weights and biases may learn too.

mod dora;

use super::architecture::{Group, Width};
use super::pass::Pass;
use super::trainable::{Lora, LoraPanel};
use super::weights::{Bias, Stacked};
use crate::kernels::linear::{self, NONE, Panel};
use crate::kernels::lora_grad::{self, Along};
use crate::kernels::{Recorder, bias, dropout};
use crate::memory::Tensor;

/// What backward needs of the products of a group: of each that has a panel.
pub(super) type Ts = Vec<Option<Kept>>;

/// What backward needs of a product.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    /// T = s·dropout(X)·Aᵀ.
    t: Tensor,
    /// With DoRA, what it scales: dropout(X)·Wᵀ + T·Bᵀ.
    z: Option<Tensor>,
}

/// What comes back to a group from above it, and where its own gradient goes.
#[derive(Clone, Copy)]
pub(super) struct Upstream {
    /// Gradient of the group's output [M, y_stride].
    pub(super) dy: Tensor,
    /// What the group read [M, K].
    pub(super) x: Tensor,
    /// Receives the gradient of x, where it is wanted.
    pub(super) dx: Option<Tensor>,
}

/// A group's products: one for all its modules, or several where formats or their size forbid stacking.
pub(super) struct GroupProducts<'a> {
    products: Vec<Product<'a>>,
    /// LoRA's dropout on the group's input: stacked modules share one mask, since they share one product with A.
    dropout: Option<(u32, f64, Tensor)>,
}

/// One product over stacked modules.
struct Product<'a> {
    pass: &'a Pass<'a>,
    stacked: &'a Stacked,
    adapter: Option<Adapter<'a>>,
    params: linear::Params,
}

/// The panel of a product and the adapter that holds its factors.
#[derive(Clone, Copy)]
struct Adapter<'a> {
    panel: &'a LoraPanel,
    lora: &'a Lora,
}

impl Adapter<'_> {
    fn a(&self) -> Tensor {
        self.lora.a(self.panel)
    }

    fn b(&self) -> Tensor {
        self.lora.b(self.panel)
    }
}

impl<'a> GroupProducts<'a> {
    pub(super) fn new(pass: &'a Pass<'a>, layer: usize, group: Group) -> Self {
        let stacks = &pass.model.layers[layer].groups[group];
        let y_stride = stacks.iter().map(Stacked::cols).sum::<usize>() as u32;
        let scale = pass.model.architecture.layers[layer].scale(group);
        let products: Vec<Product> = stacks
            .iter()
            .enumerate()
            .map(|(index, stacked)| {
                let panel = |lora: &'a Lora| lora.panels[layer][group][index].as_ref();
                let adapter = pass.lora.and_then(|lora| Some(Adapter { panel: panel(lora)?, lora }));
                let params = linear::Params { scale, ..params(pass, stacked, adapter, y_stride) };
                Product { pass, stacked, adapter, params }
            })
            .collect();
        let is_adapted = products.iter().any(|product| product.adapter.is_some());
        let stream = (layer * Group::ALL.len() + group as usize) as u32;
        let dropout = pass.dropout.filter(|_| is_adapted);
        GroupProducts { products, dropout: dropout.map(|(probability, seed)| (stream, probability, seed)) }
    }

    /// Records T of each product, and with DoRA what that scales.
    pub(super) fn t(&self, rec: &mut Recorder, x: Tensor) -> Ts {
        let dropped = self.dropped(rec, x);
        let mut ts = Ts::new();
        for (index, product) in self.products.iter().enumerate() {
            // Parts of one module have one A.
            let is_same = index > 0 && self.products[index - 1].a_place() == product.a_place();
            let before = ts.last().copied().flatten().filter(|_| is_same);
            let t = before.map(|Kept { t, .. }| t).or_else(|| product.t(rec, dropped));
            ts.push(t.map(|t| Kept { t, z: product.z(rec, dropped, t) }));
        }
        ts
    }

    /// Records the output of all products into `y`, with `residual` added.
    pub(super) fn forward(
        &self,
        rec: &mut Recorder,
        x: Tensor,
        t: &[Option<Kept>],
        residual: Option<Tensor>,
        y: Tensor,
    ) {
        for (product, &kept) in self.products.iter().zip(t) {
            match kept {
                Some(Kept { z: Some(z), .. }) => self.scaled(rec, product, (x, z), residual, y),
                _ => product.forward(rec, x, kept.map(|kept| kept.t), residual, y),
            }
            product.add_biases(rec, y);
        }
    }

    /// Records dX where it is wanted, and adds up the gradients of what learns.
    pub(super) fn backward(&self, rec: &mut Recorder, t: &[Option<Kept>], upstream: Upstream) {
        let Upstream { dy, x, dx } = upstream;
        let dropped = self.dropped(rec, x);
        let mut so_far = None;
        for (index, (product, &kept)) in self.products.iter().zip(t).enumerate() {
            let own = product.own_gradient(rec, dy, kept);
            let dt = kept.map(|kept| product.factor_gradients(rec, own, dropped, kept.t));
            product.weight_gradients(rec, dy, x);
            let Some(dx) = dx else { continue };
            // Products that could not be stacked add up: each writes into a tensor of its own, and the last one
            // into dx.
            let is_last = index + 1 == self.products.len();
            let out = if is_last { dx } else { rec.transient((dx.size() / 4) as usize) };
            match self.dropout.zip(dt) {
                None => product.input_gradient(rec, own, dt, so_far, out),
                Some((_, dt)) => {
                    product.input_gradient(rec, (product.params, dy), None, so_far, out);
                    self.masked_gradient(rec, product, (dy, dt), out);
                }
            }
            so_far = Some(out);
        }
    }

    /// X with LoRA's dropout, or X itself where there is none.
    fn dropped(&self, rec: &mut Recorder, x: Tensor) -> Tensor {
        let Some((params, seed)) = self.dropout_params(x) else { return x };
        let dropped = rec.transient((x.size() / 4) as usize);
        dropout::forward(rec, params, seed, x, dropped);
        dropped
    }

    fn dropout_params(&self, x: Tensor) -> Option<(dropout::Params, Tensor)> {
        let (stream, probability, seed) = self.dropout?;
        Some((dropout::Params::new((x.size() / 4) as u32, stream, probability), seed))
    }

    /// Adds the gradient of dropout's output to dx, with its mask on it.
    fn masked_gradient(&self, rec: &mut Recorder, product: &Product, (dy, dt): (Tensor, Tensor), dx: Tensor) {
        let through = rec.transient((dx.size() / 4) as usize);
        match product.scaling() {
            Some(scaling) => product.through_both(rec, scaling, (dy, dt), through),
            None => product.through_a(rec, dt, through),
        }
        let (params, seed) = self.dropout_params(dx).expect("a mask has its dropout");
        dropout::backward_add(rec, params, seed, through, dx);
    }
}

/// Params of a product with its panel, on rows of `y_stride` values.
fn params(pass: &Pass, stacked: &Stacked, adapter: Option<Adapter>, y_stride: u32) -> linear::Params {
    let Width { real, padded } = stacked.inputs();
    let plain = linear::Params {
        true_depth: real as u32,
        y_stride,
        y_offset: stacked.first_col as u32,
        ..linear::Params::plain(pass.rows.count, stacked.cols(), padded)
    };
    let Some(Adapter { panel, lora }) = adapter else { return plain };
    linear::Params {
        rank: lora.rank() as u32,
        t_stride: (panel.modules * lora.rank()) as u32,
        section_end: panel.section_end,
        t_offset: panel.t_offset,
        b_base: panel.b_base,
        ..plain
    }
}

impl Product<'_> {
    /// What a panel of `scale` is multiplied by: the scale of a product multiplies X·Wᵀ alone.
    fn lora_scale(&self, scale: f32) -> f32 {
        self.pass.lora_scale * scale * self.params.scale
    }

    /// Where its A lies, if it has one: segment and place.
    fn a_place(&self) -> Option<(usize, usize)> {
        self.adapter.map(|Adapter { panel, .. }| (panel.a_segment, panel.a_first))
    }

    fn t(&self, rec: &mut Recorder, dropped: Tensor) -> Option<Tensor> {
        let adapter = self.adapter?;
        let cols = self.params.t_stride as usize;
        let t = self.pass.activation(rec, cols);
        let plain = linear::Params::plain(self.pass.rows.count, cols, self.params.depth as usize);
        let runs = adapter.panel.by_scale();
        if let [(scale, _)] = runs[..] {
            let params = linear::Params { scale: self.lora_scale(scale), ..plain };
            linear::narrow(rec, params, dropped, adapter.a(), t);
            return Some(t);
        }
        // Layers whose scales differ have products of their own.
        let rank = self.params.rank;
        for (scale, layers) in runs {
            for section in (0..4).filter(|&section| layers[section]) {
                let first = self.params.t_offset[section];
                let params = linear::Params {
                    cols: rank,
                    y_stride: cols as u32,
                    y_offset: first,
                    scale: self.lora_scale(scale),
                    ..plain
                };
                let row = 4 * u64::from(self.params.depth);
                let a = adapter.a().slice(u64::from(first) * row, u64::from(rank) * row);
                linear::narrow(rec, params, dropped, a, t);
            }
        }
        Some(t)
    }

    fn forward(&self, rec: &mut Recorder, x: Tensor, t: Option<Tensor>, residual: Option<Tensor>, y: Tensor) {
        let panel = self.adapter.zip(t).map(|(adapter, t)| Panel { t, factor: adapter.b() });
        let params = linear::Params {
            rank: panel.map_or(0, |_| self.params.rank),
            add_residual: u32::from(residual.is_some()),
            ..self.params
        };
        linear::forward(rec, params, x, self.stacked.weight, panel, residual, y);
    }

    fn add_biases(&self, rec: &mut Recorder, y: Tensor) {
        for bias in &self.stacked.biases {
            bias::add(rec, self.bias_params(bias), bias.values, y);
        }
    }

    fn bias_params(&self, bias: &Bias) -> bias::Params {
        let linear::Params { rows, y_stride, y_offset, .. } = self.params;
        bias::Params { rows, stride: y_stride, offset: y_offset + bias.at as u32, cols: bias.cols as u32 }
    }

    /// Records the gradients of weight and bias, where these learn.
    fn weight_gradients(&self, rec: &mut Recorder, dy: Tensor, x: Tensor) {
        if let Some(gradient) = self.pass.gradient(self.stacked.weight.values) {
            lora_grad::weight(rec, self.params, dy, x, gradient);
        }
        for bias in &self.stacked.biases {
            if let Some(gradient) = self.pass.gradient(bias.values) {
                bias::gradient(rec, self.bias_params(bias), dy, gradient);
            }
        }
    }

    /// Records the gradients of A and B from that of the product, which lies as `params` say, and returns dT = s·dY·B.
    fn factor_gradients(
        &self,
        rec: &mut Recorder,
        (params, dy): (linear::Params, Tensor),
        dropped: Tensor,
        t: Tensor,
    ) -> Tensor {
        let adapter = self.adapter.expect("what has a T has a panel");
        let of_b = lora_grad::Params {
            rows: params.rows,
            u_stride: params.y_stride,
            u_offset: params.y_offset,
            v_stride: params.t_stride,
            height: params.cols,
            width: params.rank,
            scale: 1.0,
            pad: 0,
            section_end: params.section_end,
            v_offset: params.t_offset,
            g_base: params.b_base,
        };
        if let Some(gradient) = self.pass.gradient(adapter.b()) {
            lora_grad::outer(rec, Along::U, of_b, dy, t, gradient);
        }

        let dt = self.pass.activation(rec, params.t_stride as usize);
        for (scale, layers) in adapter.panel.by_scale() {
            let mut scaled = linear::Params { scale: self.lora_scale(scale), ..params };
            for section in (0..4).filter(|&section| !layers[section]) {
                scaled.t_offset[section] = NONE;
            }
            lora_grad::t(rec, scaled, adapter.panel.sections(), dy, adapter.b(), dt);
        }
        let of_a = lora_grad::Params {
            u_stride: params.t_stride,
            u_offset: 0,
            v_stride: params.depth,
            height: params.t_stride,
            width: params.depth,
            section_end: [u32::MAX; 4],
            v_offset: [0; 4],
            g_base: [0; 4],
            ..of_b
        };
        if let Some(gradient) = self.pass.gradient(adapter.a()) {
            lora_grad::outer(rec, Along::V, of_a, dt, dropped, gradient);
        }
        dt
    }

    /// Records dX = dY·W + dT·A + residual, where dY lies as `params` say.
    fn input_gradient(
        &self,
        rec: &mut Recorder,
        (params, dy): (linear::Params, Tensor),
        dt: Option<Tensor>,
        residual: Option<Tensor>,
        dx: Tensor,
    ) {
        let panel = self.adapter.zip(dt).map(|(adapter, dt)| Panel { t: dt, factor: adapter.a() });
        let params = linear::Params {
            rank: panel.map_or(0, |_| params.t_stride),
            add_residual: u32::from(residual.is_some()),
            ..params
        };
        linear::backward(rec, params, dy, self.stacked.weight, panel, residual, dx);
    }

    /// Records dT·A by itself.
    fn through_a(&self, rec: &mut Recorder, dt: Tensor, out: Tensor) {
        let adapter = self.adapter.expect("what has a dT has a panel");
        let (rank, depth) = (self.params.t_stride as usize, self.params.depth as usize);
        let params = linear::Params::plain(self.pass.rows.count, rank, depth);
        let a = linear::Weight::f32(adapter.a());
        linear::backward(rec, params, dt, a, None, None, out);
    }
}
