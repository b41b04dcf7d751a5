//! Records the decoder layer: forward, and backward down to the LoRA factors.
//!
//! The Llama layer (Touvron et al. 2023): x → norm → q, k, v → RoPE → attention → o, added to x;
//! → norm → gate, up → SwiGLU → down, added again. Weights are frozen; only LoRA learns.

use super::load::{LayerWeights, Model, Stacked};
use super::lora::{Lora, LoraPanel};
use super::tiles::{Direction, Shape, Tiles};
use crate::gpu::{Recorder, Tensor};
use crate::kernels::glu::{self, Act};
use crate::kernels::linear::{self, Panel};
use crate::kernels::lora_grad::Along;
use crate::kernels::{attention, dropout, lora_grad, rms_norm, rope};

/// The tokens of a pass and where they stand. All have one entry for each of the M rows.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    /// M, a multiple of 8 in training.
    pub count: usize,
    /// Token ids, u32.
    pub ids: Tensor,
    /// Position of each token in its text, u32.
    pub positions: Tensor,
    /// First key and end of keys that each query sees, two u32 a row.
    pub spans: Tensor,
    /// End of the queries that see each key, u32. Only backward reads it.
    pub last: Tensor,
    /// Cosines and sines of RoPE, [positions, head_dim / 2].
    pub cos: Tensor,
    pub sin: Tensor,
}

/// A decoder about to be recorded.
pub struct Decoder<'a> {
    pub model: &'a Model,
    pub lora: Option<&'a Lora>,
    /// For the number of rows of the pass, or of the largest one recorded.
    pub tiles: &'a Tiles,
    pub rows: Rows,
    /// Multiplies LoRA's part; 0 switches the adapter off.
    pub lora_scale: f32,
    /// The chance of a dropped LoRA input, and the tensor holding the seed.
    pub dropout: Option<(f64, Tensor)>,
}

/// What a layer's backward pass needs of its forward pass.
#[derive(Clone, Debug)]
pub struct LayerActivations {
    x: Tensor,
    normed: Tensor,
    rstd: Tensor,
    qkv: Tensor,
    attention: Tensor,
    lse: Tensor,
    middle: Tensor,
    middle_normed: Tensor,
    middle_rstd: Tensor,
    gate_up: Tensor,
    act: Tensor,
    /// T = X·Aᵀ of each stacked product, by group.
    t: [Vec<Option<Tensor>>; 4],
}

/// The gradient that flows down, and where it ends.
#[derive(Clone, Copy, Debug)]
pub struct Backward {
    /// Gradient of the layer's output [M, H].
    pub dy: Tensor,
    /// False for the first layer: nothing below it learns.
    pub wants_dx: bool,
}

/// Where attention finds its keys and values.
#[derive(Clone, Copy, Debug)]
pub enum Keys {
    /// In the pass itself.
    OfPass,
    /// In a cache [positions, 2 · keys], to which the pass appends its own.
    Cached(Tensor),
}

const QKV: usize = 0;
const O: usize = 1;
const GATE_UP: usize = 2;
const DOWN: usize = 3;

impl Decoder<'_> {
    fn activation(&self, rec: &mut Recorder, width: usize) -> Tensor {
        rec.transient(self.rows.count * width)
    }

    fn norm_params(&self) -> rms_norm::Params {
        rms_norm::Params {
            rows: self.rows.count as u32,
            cols: self.model.config.hidden_size as u32,
            stride: self.model.sizes.hidden as u32,
            eps: self.model.config.rms_norm_eps,
        }
    }

    fn attention_params(&self) -> attention::Params {
        let (config, sizes) = (&self.model.config, &self.model.sizes);
        attention::Params {
            rows: self.rows.count as u32,
            q_stride: sizes.qkv() as u32,
            q_offset: 0,
            kv_stride: sizes.qkv() as u32,
            k_offset: sizes.queries as u32,
            v_offset: (sizes.queries + sizes.keys) as u32,
            out_stride: sizes.queries as u32,
            q_heads: config.num_attention_heads as u32,
            kv_heads: config.num_key_value_heads as u32,
            head_dim: config.head_dim as u32,
            scale: 1.0 / (config.head_dim as f32).sqrt(),
            first_row: 0,
        }
    }

    fn rotate(&self, rec: &mut Recorder, qkv: Tensor, sign: f32) {
        let (config, sizes) = (&self.model.config, &self.model.sizes);
        let params = rope::Params {
            rows: self.rows.count as u32,
            stride: sizes.qkv() as u32,
            q_offset: 0,
            k_offset: sizes.queries as u32,
            q_heads: config.num_attention_heads as u32,
            kv_heads: config.num_key_value_heads as u32,
            head_dim: config.head_dim as u32,
            rotary_dim: config.head_dim as u32,
            sign,
            table_stride: config.head_dim as u32 / 2,
        };
        rope::apply(rec, params, qkv, self.rows.positions, self.rows.cos, self.rows.sin);
    }

    /// Records one layer on x [M, H] and returns what backward needs and the output [M, H].
    pub fn layer_forward(
        &self,
        rec: &mut Recorder,
        layer: usize,
        x: Tensor,
        keys: Keys,
    ) -> (LayerActivations, Tensor) {
        let acts = self.layer_activations(rec, layer, x, keys);
        let y = self.activation(rec, self.model.sizes.hidden);
        let down = &self.model.layers[layer].groups[DOWN];
        for (index, stacked) in down.iter().enumerate() {
            let t = acts.t[DOWN][index];
            self.product(rec, layer, DOWN, index, stacked, acts.act, t, Some(acts.middle), y);
        }
        (acts, y)
    }

    /// Records all of a layer but its last product: what a backward pass with recompute runs again.
    pub fn layer_activations(
        &self,
        rec: &mut Recorder,
        layer: usize,
        x: Tensor,
        keys: Keys,
    ) -> LayerActivations {
        let (sizes, m) = (self.model.sizes, self.rows.count);
        let LayerWeights { input_norm, post_attention_norm, .. } = self.model.layers[layer];

        let normed = self.activation(rec, sizes.hidden);
        let rstd = rec.transient(m);
        let norm = rms_norm::Forward { inp: x, weight: input_norm, residual: None, out: normed, rstd };
        rms_norm::forward(rec, self.norm_params(), norm);
        let qkv = self.activation(rec, sizes.qkv());
        let t_qkv = self.group_forward(rec, layer, QKV, normed, None, qkv);
        self.rotate(rec, qkv, 1.0);

        let attended = self.activation(rec, sizes.queries);
        let lse = rec.transient(m * self.model.config.num_attention_heads);
        self.attend(rec, qkv, keys, attended, lse);
        let middle = self.activation(rec, sizes.hidden);
        let t_o = self.group_forward(rec, layer, O, attended, Some(x), middle);

        let middle_normed = self.activation(rec, sizes.hidden);
        let middle_rstd = rec.transient(m);
        let norm = rms_norm::Forward {
            inp: middle,
            weight: post_attention_norm,
            residual: None,
            out: middle_normed,
            rstd: middle_rstd,
        };
        rms_norm::forward(rec, self.norm_params(), norm);
        let gate_up = self.activation(rec, 2 * sizes.ffn);
        let t_gate_up = self.group_forward(rec, layer, GATE_UP, middle_normed, None, gate_up);
        let act = self.activation(rec, sizes.ffn);
        let glu = glu::Params { rows: m as u32, half: sizes.ffn as u32 };
        glu::forward(rec, Act::Silu, glu, gate_up, act);
        let t_down = self.panels_t(rec, layer, DOWN, act);

        LayerActivations {
            x,
            normed,
            rstd,
            qkv,
            attention: attended,
            lse,
            middle,
            middle_normed,
            middle_rstd,
            gate_up,
            act,
            t: [t_qkv, t_o, t_gate_up, t_down],
        }
    }

    fn attend(&self, rec: &mut Recorder, qkv: Tensor, keys: Keys, out: Tensor, lse: Tensor) {
        let (sizes, params) = (&self.model.sizes, self.attention_params());
        let Keys::Cached(cache) = keys else {
            return attention::forward(rec, params, qkv, qkv, self.rows.spans, out, lse);
        };
        let append = crate::kernels::kv_append::Params {
            rows: params.rows,
            qkv_stride: params.q_stride,
            k_offset: params.k_offset,
            v_offset: params.v_offset,
            kv_width: sizes.keys as u32,
            cache_stride: 2 * sizes.keys as u32,
        };
        crate::kernels::kv_append::apply(rec, append, qkv, self.rows.positions, cache);
        let params = attention::Params {
            kv_stride: append.cache_stride,
            k_offset: 0,
            v_offset: append.kv_width,
            ..params
        };
        let attend = if params.rows == 1 { attention::decode } else { attention::forward };
        attend(rec, params, qkv, cache, self.rows.spans, out, lse);
    }

    /// Records the backward pass of one layer and returns dx [M, H] where it is wanted.
    ///
    /// The gradients of the layer's LoRA factors are added to the adapter's.
    pub fn layer_backward(
        &self,
        rec: &mut Recorder,
        layer: usize,
        acts: &LayerActivations,
        backward: Backward,
    ) -> Option<Tensor> {
        let (sizes, m) = (self.model.sizes, self.rows.count);
        let LayerWeights { input_norm, post_attention_norm, .. } = self.model.layers[layer];
        let dy = backward.dy;

        let dact = self.activation(rec, sizes.ffn);
        self.group_backward(rec, layer, DOWN, dy, acts.act, &acts.t[DOWN], Some(dact));
        // SwiGLU's gradients take the place of its inputs.
        let glu = glu::Params { rows: m as u32, half: sizes.ffn as u32 };
        glu::backward(rec, Act::Silu, glu, dact, acts.gate_up);
        let dnormed = self.activation(rec, sizes.hidden);
        let t = &acts.t[GATE_UP];
        self.group_backward(rec, layer, GATE_UP, acts.gate_up, acts.middle_normed, t, Some(dnormed));
        let dmiddle = self.activation(rec, sizes.hidden);
        let tensors = rms_norm::Backward {
            dout: dnormed,
            inp: acts.middle,
            weight: post_attention_norm,
            rstd: acts.middle_rstd,
            dresidual: Some(dy),
            dinp: dmiddle,
        };
        rms_norm::backward(rec, self.norm_params(), tensors);

        let dattention = self.activation(rec, sizes.queries);
        self.group_backward(rec, layer, O, dmiddle, acts.attention, &acts.t[O], Some(dattention));
        let dqkv = self.activation(rec, sizes.qkv());
        let tensors = attention::Backward {
            qkv: acts.qkv,
            out: acts.attention,
            dout: dattention,
            lse: acts.lse,
            spans: self.rows.spans,
            last: self.rows.last,
            delta: rec.transient(m * self.model.config.num_attention_heads),
            dqkv,
        };
        attention::backward(rec, self.attention_params(), tensors);
        self.rotate(rec, dqkv, -1.0);

        let dnormed = backward.wants_dx.then(|| self.activation(rec, sizes.hidden));
        self.group_backward(rec, layer, QKV, dqkv, acts.normed, &acts.t[QKV], dnormed);
        let dx = self.activation(rec, sizes.hidden);
        let tensors = rms_norm::Backward {
            dout: dnormed?,
            inp: acts.x,
            weight: input_norm,
            rstd: acts.rstd,
            dresidual: Some(dmiddle),
            dinp: dx,
        };
        rms_norm::backward(rec, self.norm_params(), tensors);
        Some(dx)
    }

    fn panel(&self, layer: usize, group: usize, index: usize) -> Option<(&LoraPanel, &Lora)> {
        let lora = self.lora?;
        Some((lora.panels[layer][group][index].as_ref()?, lora))
    }

    /// Params of a stacked product on rows of `x_stride` and `y_stride` values.
    fn params(&self, stacked: &Stacked, panel: Option<(&LoraPanel, &Lora)>) -> linear::Params {
        let linears = self.model.sizes.linears();
        let cols = stacked.modules.iter().map(|&module| linears[module].1).sum::<usize>();
        let depth = linears[stacked.modules[0]].0;
        let mut params = linear::Params {
            true_depth: self.model.config.linears()[stacked.modules[0]].in_features as u32,
            y_offset: stacked.first_col as u32,
            ..linear::Params::plain(self.rows.count, cols, depth)
        };
        if let Some((panel, lora)) = panel {
            params.rank = lora.rank() as u32;
            params.t_stride = (panel.modules * lora.rank()) as u32;
            params.section_end = panel.section_end;
            params.t_offset = panel.t_offset;
            params.b_base = panel.b_base;
        }
        params
    }

    /// The row length of a group's output.
    fn width(&self, group: usize) -> usize {
        let linears = self.model.sizes.linears();
        super::GROUPS[group].iter().map(|&module| linears[module].1).sum()
    }

    /// Records T = scale·dropout(X)·Aᵀ of each of a group's stacked products.
    fn panels_t(&self, rec: &mut Recorder, layer: usize, group: usize, x: Tensor) -> Vec<Option<Tensor>> {
        let count = self.model.layers[layer].groups[group].len();
        let dropped = self.dropped(rec, layer, group, x);
        (0..count)
            .map(|index| {
                let (panel, lora) = self.panel(layer, group, index)?;
                let cols = panel.modules * lora.rank();
                let t = self.activation(rec, cols);
                let a = Lora::a(panel, lora.segments[panel.segment].param);
                let depth = panel.a_len / cols;
                let params = linear::Params {
                    scale: self.lora_scale,
                    ..linear::Params::plain(self.rows.count, cols, depth)
                };
                linear::narrow(rec, self.tiles.default, params, dropped, a, t);
                Some(t)
            })
            .collect()
    }

    /// X with LoRA's dropout, or X itself where there is none.
    fn dropped(&self, rec: &mut Recorder, layer: usize, group: usize, x: Tensor) -> Tensor {
        let Some((params, seed)) = self.dropout_params(layer, group, x) else { return x };
        let dropped = rec.transient((x.size() / 4) as usize);
        dropout::forward(rec, params, seed, x, dropped);
        dropped
    }

    /// Stacked modules share one mask, since they share one product with A.
    fn dropout_params(&self, layer: usize, group: usize, x: Tensor) -> Option<(dropout::Params, Tensor)> {
        let (probability, seed) = self.dropout?;
        self.model.layers[layer].groups[group]
            .iter()
            .enumerate()
            .find(|(index, _)| self.panel(layer, group, *index).is_some())?;
        let stream = (layer * super::GROUPS.len() + group) as u32;
        Some((dropout::Params::new((x.size() / 4) as u32, stream, probability), seed))
    }

    fn group_forward(
        &self,
        rec: &mut Recorder,
        layer: usize,
        group: usize,
        x: Tensor,
        residual: Option<Tensor>,
        y: Tensor,
    ) -> Vec<Option<Tensor>> {
        let t = self.panels_t(rec, layer, group, x);
        for (index, stacked) in self.model.layers[layer].groups[group].iter().enumerate() {
            self.product(rec, layer, group, index, stacked, x, t[index], residual, y);
        }
        t
    }

    fn product(
        &self,
        rec: &mut Recorder,
        layer: usize,
        group: usize,
        index: usize,
        stacked: &Stacked,
        x: Tensor,
        t: Option<Tensor>,
        residual: Option<Tensor>,
        y: Tensor,
    ) {
        let panel = self.panel(layer, group, index);
        let params = linear::Params {
            y_stride: self.width(group) as u32,
            add_residual: u32::from(residual.is_some()),
            ..self.params(stacked, panel)
        };
        let operands = panel.zip(t).map(|((panel, lora), t)| Panel {
            t,
            factor: Lora::b(panel, lora.segments[panel.segment].param),
        });
        let tile = self.tiles.tile(Direction::Forward, Shape::new(&params, stacked.weight.format));
        linear::forward(rec, tile, params, x, stacked.weight, operands, residual, y);
    }

    /// Records dX of a group where it is wanted, and the gradients of its LoRA factors.
    fn group_backward(
        &self,
        rec: &mut Recorder,
        layer: usize,
        group: usize,
        dy: Tensor,
        x: Tensor,
        t: &[Option<Tensor>],
        dx: Option<Tensor>,
    ) {
        let products = &self.model.layers[layer].groups[group];
        let dropped = self.dropped(rec, layer, group, x);
        let mut so_far = None;
        for (index, stacked) in products.iter().enumerate() {
            let panel = self.panel(layer, group, index);
            let params = linear::Params { y_stride: self.width(group) as u32, ..self.params(stacked, panel) };
            let dt = panel.zip(t[index]).map(|((panel, lora), t)| {
                self.factor_gradients(rec, stacked, params, panel, lora, dy, dropped, t)
            });
            let Some(dx) = dx else { continue };
            // Products that could not be stacked add up, each into a tensor of its own but the last.
            let is_last = index + 1 == products.len();
            let out = if is_last { dx } else { rec.transient((dx.size() / 4) as usize) };
            self.input_gradient(rec, layer, group, stacked, params, panel.zip(dt), dy, so_far, out);
            so_far = Some(out);
        }
    }

    /// Records the gradients of A and B of one stacked product and returns dT.
    fn factor_gradients(
        &self,
        rec: &mut Recorder,
        stacked: &Stacked,
        params: linear::Params,
        panel: &LoraPanel,
        lora: &Lora,
        dy: Tensor,
        x: Tensor,
        t: Tensor,
    ) -> Tensor {
        let segment = &lora.segments[panel.segment];
        let of_b = lora_grad::Params {
            rows: params.rows,
            u_stride: params.y_stride,
            u_offset: params.y_offset,
            v_stride: params.t_stride,
            height: params.cols,
            width: params.rank,
            pad: [0; 2],
            section_end: params.section_end,
            v_offset: params.t_offset,
            g_base: params.b_base,
        };
        lora_grad::outer(rec, self.tiles.default, Along::U, of_b, dy, t, Lora::b(panel, segment.grad));

        let dt = self.activation(rec, params.t_stride as usize);
        let scaled = linear::Params { scale: self.lora_scale, ..params };
        lora_grad::t(
            rec,
            self.tiles.default,
            scaled,
            stacked.modules.len(),
            dy,
            Lora::b(panel, segment.param),
            dt,
        );
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
        lora_grad::outer(rec, self.tiles.default, Along::V, of_a, dt, x, Lora::a(panel, segment.grad));
        dt
    }

    /// Records dX = dY·W + dT·A, with dropout's mask on the second part.
    fn input_gradient(
        &self,
        rec: &mut Recorder,
        layer: usize,
        group: usize,
        stacked: &Stacked,
        params: linear::Params,
        panel: Option<((&LoraPanel, &Lora), Tensor)>,
        dy: Tensor,
        residual: Option<Tensor>,
        dx: Tensor,
    ) {
        let operands = panel.map(|((panel, lora), dt)| Panel {
            t: dt,
            factor: Lora::a(panel, lora.segments[panel.segment].param),
        });
        let masked = self.dropout_params(layer, group, dx).filter(|_| operands.is_some());
        let fused = if masked.is_some() { None } else { operands };
        let params = linear::Params {
            rank: fused.map_or(0, |_| params.t_stride),
            add_residual: u32::from(residual.is_some()),
            ..params
        };
        let tile = self.tiles.tile(Direction::Backward, Shape::new(&params, stacked.weight.format));
        linear::backward(rec, tile, params, dy, stacked.weight, fused, residual, dx);

        if let Some(((mask, seed), Panel { t: dt, factor: a })) = masked.zip(operands) {
            let through_a = rec.transient((dx.size() / 4) as usize);
            let plain =
                linear::Params::plain(self.rows.count, params.t_stride as usize, params.depth as usize);
            linear::backward(
                rec,
                self.tiles.default,
                plain,
                dt,
                linear::Weight::f32(a),
                None,
                None,
                through_a,
            );
            dropout::backward_add(rec, mask, seed, through_a, dx);
        }
    }
}
