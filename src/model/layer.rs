//! Records the decoder layer: forward, and backward down to the LoRA factors.
//!
//! The Llama layer (Touvron et al. 2023): x → norm → q, k, v → RoPE → attention → o, added to x;
//! → norm → gate, up → SwiGLU → down, added again. Weights are frozen; only LoRA learns.

use super::architecture::{Architecture, Attention, ByGroup, Group, Layer};
use super::load::{LayerWeights, Model};
use super::lora::Lora;
use super::product::{GroupProducts, Ts, Upstream};
use super::tiles::Tiles;
use crate::gpu::{Recorder, Tensor};
use crate::kernels::{attention, kv_append, rms_norm, rope, swiglu};

/// The tokens of a pass and where they stand. All have one entry for each of the M rows.
#[derive(Clone, Debug)]
pub struct Rows {
    /// M, a multiple of 8 in training.
    pub count: usize,
    /// Token ids, u32.
    pub ids: Tensor,
    /// Position of each token in its text, u32.
    pub positions: Tensor,
    /// What each row sees, by [`Architecture::views`].
    pub views: Vec<RowsSeen>,
    /// By [`Architecture::ropes`].
    pub ropes: Vec<RopeTables>,
}

/// Which keys each row sees.
#[derive(Clone, Copy, Debug)]
pub struct RowsSeen {
    /// First key and end of keys that each query sees, two u32 a row.
    pub spans: Tensor,
    /// End of the queries that see each key, u32. Only backward reads it.
    pub last: Tensor,
}

/// Cosines and sines, [positions, rotary_dim / 2].
#[derive(Clone, Copy, Debug)]
pub struct RopeTables {
    pub cos: Tensor,
    pub sin: Tensor,
}

/// What the layers of a pass are recorded with.
pub struct Pass<'a> {
    pub model: &'a Model,
    pub lora: Option<&'a Lora>,
    /// For the number of rows of the pass, or of the largest one recorded.
    pub tiles: &'a Tiles,
    pub rows: &'a Rows,
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
    attended: Tensor,
    lse: Tensor,
    middle: Tensor,
    middle_normed: Tensor,
    middle_rstd: Tensor,
    gate_up: Tensor,
    act: Tensor,
    /// T = X·Aᵀ of each stacked product.
    t: ByGroup<Ts>,
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

/// A layer about to be recorded.
struct LayerPass<'a> {
    pass: &'a Pass<'a>,
    number: usize,
    layer: &'a Layer,
    weights: &'a LayerWeights,
}

impl Pass<'_> {
    /// A tensor of `width` values a row.
    pub(super) fn activation(&self, rec: &mut Recorder, width: usize) -> Tensor {
        rec.transient(self.rows.count * width)
    }

    /// Records layer `number` on x [M, H] and returns what backward needs and the output [M, H].
    pub fn layer_forward(
        &self,
        rec: &mut Recorder,
        number: usize,
        x: Tensor,
        keys: Keys,
    ) -> (LayerActivations, Tensor) {
        let layer = self.layer(number);
        let acts = layer.activations(rec, x, keys);
        let y = self.activation(rec, self.model.architecture.hidden.padded);
        layer.group(Group::Down).forward(rec, acts.act, &acts.t[Group::Down], Some(acts.middle), y);
        (acts, y)
    }

    /// Records a layer but for its last product: what a backward pass with recompute runs again.
    pub fn layer_activations(
        &self,
        rec: &mut Recorder,
        number: usize,
        x: Tensor,
        keys: Keys,
    ) -> LayerActivations {
        self.layer(number).activations(rec, x, keys)
    }

    /// Records the backward pass of a layer and returns dx [M, H] where it is wanted.
    ///
    /// The gradients of the layer's LoRA factors are added to the adapter's.
    pub fn layer_backward(
        &self,
        rec: &mut Recorder,
        number: usize,
        acts: &LayerActivations,
        backward: Backward,
    ) -> Option<Tensor> {
        self.layer(number).backward(rec, acts, backward)
    }

    fn layer(&self, number: usize) -> LayerPass<'_> {
        let Model { architecture, layers, .. } = self.model;
        LayerPass { pass: self, number, layer: &architecture.layers[number], weights: &layers[number] }
    }
}

impl<'a> LayerPass<'a> {
    fn activations(&self, rec: &mut Recorder, x: Tensor, keys: Keys) -> LayerActivations {
        let pass = self.pass;
        let (norms, hidden) = (self.weights.norms, pass.model.architecture.hidden.padded);

        let (normed, rstd) = self.norm(rec, x, norms.before_attention);
        let qkv = pass.activation(rec, self.qkv_width());
        let t_qkv = self.project(rec, Group::Qkv, normed, None, qkv);
        self.rotate(rec, qkv, 1.0);

        let attended = pass.activation(rec, self.layer.attention.queries().padded);
        let lse = pass.activation(rec, self.layer.attention.q_heads);
        self.attend(rec, qkv, keys, attended, lse);
        let middle = pass.activation(rec, hidden);
        let t_output = self.project(rec, Group::Output, attended, Some(x), middle);

        let (middle_normed, middle_rstd) = self.norm(rec, middle, norms.before_feed_forward);
        let gate_up = pass.activation(rec, 2 * self.layer.ffn.padded);
        let t_gate_up = self.project(rec, Group::GateUp, middle_normed, None, gate_up);
        let act = pass.activation(rec, self.layer.ffn.padded);
        swiglu::forward(rec, self.swiglu_params(), gate_up, act);
        let t_down = self.group(Group::Down).t(rec, act);

        LayerActivations {
            x,
            normed,
            rstd,
            qkv,
            attended,
            lse,
            middle,
            middle_normed,
            middle_rstd,
            gate_up,
            act,
            t: ByGroup([t_qkv, t_output, t_gate_up, t_down]),
        }
    }

    fn backward(&self, rec: &mut Recorder, acts: &LayerActivations, backward: Backward) -> Option<Tensor> {
        let pass = self.pass;
        let (norms, hidden) = (self.weights.norms, pass.model.architecture.hidden.padded);
        let dy = backward.dy;

        let dact = pass.activation(rec, self.layer.ffn.padded);
        self.backward_of(rec, Group::Down, acts, Upstream { dy, x: acts.act, dx: Some(dact) });
        // SwiGLU's gradients take the place of its inputs.
        swiglu::backward(rec, self.swiglu_params(), dact, acts.gate_up);
        let dnormed = pass.activation(rec, hidden);
        let upstream = Upstream { dy: acts.gate_up, x: acts.middle_normed, dx: Some(dnormed) };
        self.backward_of(rec, Group::GateUp, acts, upstream);
        let dmiddle = pass.activation(rec, hidden);
        let tensors = rms_norm::Backward {
            dout: dnormed,
            inp: acts.middle,
            weight: norms.before_feed_forward,
            rstd: acts.middle_rstd,
            dresidual: dy,
            dinp: dmiddle,
        };
        rms_norm::backward(rec, self.norm_params(), tensors);

        let dattended = pass.activation(rec, self.layer.attention.queries().padded);
        let upstream = Upstream { dy: dmiddle, x: acts.attended, dx: Some(dattended) };
        self.backward_of(rec, Group::Output, acts, upstream);
        let dqkv = self.attend_backward(rec, acts, dattended);
        self.rotate(rec, dqkv, -1.0);

        let dnormed = backward.wants_dx.then(|| pass.activation(rec, hidden));
        self.backward_of(rec, Group::Qkv, acts, Upstream { dy: dqkv, x: acts.normed, dx: dnormed });
        let dx = pass.activation(rec, hidden);
        let tensors = rms_norm::Backward {
            dout: dnormed?,
            inp: acts.x,
            weight: norms.before_attention,
            rstd: acts.rstd,
            dresidual: dmiddle,
            dinp: dx,
        };
        rms_norm::backward(rec, self.norm_params(), tensors);
        Some(dx)
    }

    fn group(&self, group: Group) -> GroupProducts<'a> {
        GroupProducts::new(self.pass, self.number, group)
    }

    fn project(
        &self,
        rec: &mut Recorder,
        group: Group,
        x: Tensor,
        residual: Option<Tensor>,
        y: Tensor,
    ) -> Ts {
        let products = self.group(group);
        let t = products.t(rec, x);
        products.forward(rec, x, &t, residual, y);
        t
    }

    fn backward_of(&self, rec: &mut Recorder, group: Group, acts: &LayerActivations, upstream: Upstream) {
        self.group(group).backward(rec, &acts.t[group], upstream);
    }

    /// The normed rows of x [M, H] and the reciprocal roots.
    fn norm(&self, rec: &mut Recorder, x: Tensor, weight: Tensor) -> (Tensor, Tensor) {
        let normed = self.pass.activation(rec, self.pass.model.architecture.hidden.padded);
        let rstd = self.pass.activation(rec, 1);
        rms_norm::forward(rec, self.norm_params(), x, weight, normed, rstd);
        (normed, rstd)
    }

    fn norm_params(&self) -> rms_norm::Params {
        let Architecture { hidden, eps, .. } = self.pass.model.architecture;
        rms_norm::Params {
            rows: self.pass.rows.count as u32,
            cols: hidden.real as u32,
            stride: hidden.padded as u32,
            eps,
        }
    }

    fn swiglu_params(&self) -> swiglu::Params {
        swiglu::Params { rows: self.pass.rows.count as u32, half: self.layer.ffn.padded as u32 }
    }

    /// The row length of queries, keys and values side by side.
    fn qkv_width(&self) -> usize {
        self.layer.attention.queries().padded + 2 * self.layer.attention.keys().padded
    }

    fn attention_params(&self) -> attention::Params {
        let Attention { q_heads, kv_heads, head_dim, scale, .. } = self.layer.attention;
        let (queries, keys) = (self.layer.attention.queries().padded, self.layer.attention.keys().padded);
        let stride = self.qkv_width() as u32;
        attention::Params {
            rows: self.pass.rows.count as u32,
            q_stride: stride,
            q_offset: 0,
            kv_stride: stride,
            k_offset: queries as u32,
            v_offset: (queries + keys) as u32,
            out_stride: queries as u32,
            q_heads: q_heads as u32,
            kv_heads: kv_heads as u32,
            head_dim: head_dim as u32,
            scale,
            first_row: 0,
        }
    }

    fn rotate(&self, rec: &mut Recorder, qkv: Tensor, sign: f32) {
        let attention = self.attention_params();
        let rope = self.layer.attention.rope;
        let params = rope::Params {
            rows: attention.rows,
            stride: attention.q_stride,
            q_offset: attention.q_offset,
            k_offset: attention.k_offset,
            q_heads: attention.q_heads,
            kv_heads: attention.kv_heads,
            head_dim: attention.head_dim,
            sign,
            table_stride: self.pass.model.architecture.ropes[rope].rotary_dim as u32 / 2,
        };
        let RopeTables { cos, sin } = self.pass.rows.ropes[rope];
        rope::apply(rec, params, qkv, self.pass.rows.positions, cos, sin);
    }

    fn attend(&self, rec: &mut Recorder, qkv: Tensor, keys: Keys, out: Tensor, lse: Tensor) {
        let params = self.attention_params();
        let spans = self.pass.rows.views[self.layer.attention.view].spans;
        let Keys::Cached(cache) = keys else {
            return attention::forward(rec, params, qkv, qkv, spans, out, lse);
        };
        let kv_width = self.layer.attention.keys().padded as u32;
        let append = kv_append::Params {
            rows: params.rows,
            qkv_stride: params.q_stride,
            k_offset: params.k_offset,
            v_offset: params.v_offset,
            kv_width,
            cache_stride: 2 * kv_width,
        };
        kv_append::apply(rec, append, qkv, self.pass.rows.positions, cache);
        let params =
            attention::Params { kv_stride: append.cache_stride, k_offset: 0, v_offset: kv_width, ..params };
        let attend = if params.rows == 1 { attention::decode } else { attention::forward };
        attend(rec, params, qkv, cache, spans, out, lse);
    }

    /// Records the gradients of queries, keys and values, [M, qkv].
    fn attend_backward(&self, rec: &mut Recorder, acts: &LayerActivations, dattended: Tensor) -> Tensor {
        let pass = self.pass;
        let dqkv = pass.activation(rec, self.qkv_width());
        let RowsSeen { spans, last } = pass.rows.views[self.layer.attention.view];
        let tensors = attention::Backward {
            qkv: acts.qkv,
            out: acts.attended,
            dout: dattended,
            lse: acts.lse,
            spans,
            last,
            delta: pass.activation(rec, self.layer.attention.q_heads),
            dqkv,
        };
        attention::backward(rec, self.attention_params(), tensors);
        dqkv
    }
}
