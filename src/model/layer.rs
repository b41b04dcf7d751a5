//! Records the decoder layer: forward, and backward down to what learns.
//!
//! The Llama layer (Touvron et al. 2023): x → norm → q, k, v → RoPE → attention → o, added to x;
//! → norm → gate, up → GLU → down, added again. What some families have besides is optional: norms of the heads of
//! q and k, norms behind o and down, layers without RoPE. What learns of all this, [`Pass::parameters`] says.

use super::architecture::{Architecture, Attention, ByGroup, GateUpColumns, Group, Layer, QkvColumns};
use super::embedding;
use super::pass::{Pass, RopeTables, RowsSeen};
use super::product::{GroupProducts, Ts, Upstream};
use super::weights::{LayerWeights, Model};
use crate::kernels::{Recorder, attention, glu, head_norm, kv_append, rms_norm, rope};
use crate::memory::Tensor;

/// What a layer's backward pass needs of its forward pass.
#[derive(Clone, Debug)]
pub struct LayerActivations {
    x: Tensor,
    normed: Tensor,
    rstd: Tensor,
    /// As projected, where the heads are normed.
    raw_qkv: Option<Tensor>,
    /// As attention reads it.
    qkv: Tensor,
    attended: Tensor,
    lse: Tensor,
    after_attention: Option<NormedOutput>,
    middle: Tensor,
    middle_normed: Tensor,
    middle_rstd: Tensor,
    gate_up: Tensor,
    act: Tensor,
    /// T = X·Aᵀ of each stacked product.
    t: ByGroup<Ts>,
    after_feed_forward: Option<NormedOutput>,
}

/// The output of a block with a norm behind it.
#[derive(Clone, Copy, Debug)]
struct NormedOutput {
    /// What the block gave [M, H].
    inp: Tensor,
    rstd: Tensor,
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
    /// Records the embedding and all layers, of whose activations nothing is kept, and returns the output [M, H].
    pub fn forward(&self, rec: &mut Recorder) -> Tensor {
        let x = embedding::embed(rec, self.model, self.rows.ids, self.rows.count);
        (0..self.model.layers.len()).fold(x, |x, layer| self.layer_forward(rec, layer, x, Keys::OfPass).1)
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
        let mut acts = layer.activations(rec, x, keys);
        let y = layer.output(rec, &mut acts);
        (acts, y)
    }

    /// Records what a backward pass with recompute runs again: a layer but for its last product, unless a norm
    /// behind that is to be gone back through.
    pub fn layer_activations(
        &self,
        rec: &mut Recorder,
        number: usize,
        x: Tensor,
        keys: Keys,
    ) -> LayerActivations {
        let layer = self.layer(number);
        let mut acts = layer.activations(rec, x, keys);
        if layer.weights.norms.after_feed_forward.is_some() {
            layer.output(rec, &mut acts);
        }
        acts
    }

    /// Records the backward pass of a layer and returns dx [M, H] where it is wanted.
    ///
    /// The gradients of what learns in the layer are added up.
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

        let (normed, rstd) = self.norm(rec, x, norms.before_attention, None);
        let projected = pass.activation(rec, self.layer.qkv().stride);
        let t_qkv = self.project(rec, Group::Qkv, normed, None, projected);
        let (raw_qkv, qkv) = match self.weights.head_norm {
            None => (None, projected),
            Some(weights) => {
                let qkv = pass.activation(rec, self.layer.qkv().stride);
                head_norm::forward(rec, self.head_norm_params(), projected, weights, qkv);
                (Some(projected), qkv)
            }
        };
        self.rotate(rec, qkv, 1.0);

        let attended = pass.activation(rec, self.layer.attention.queries().padded);
        let lse = pass.activation(rec, self.layer.attention.q_heads);
        self.attend(rec, qkv, keys, attended, lse);
        let (t_output, after_attention, middle) = match norms.after_attention {
            None => {
                let middle = pass.activation(rec, hidden);
                (self.project(rec, Group::Output, attended, Some(x), middle), None, middle)
            }
            Some(weight) => {
                let inp = pass.activation(rec, hidden);
                let t = self.project(rec, Group::Output, attended, None, inp);
                let (middle, rstd) = self.norm(rec, inp, weight, Some(x));
                (t, Some(NormedOutput { inp, rstd }), middle)
            }
        };

        let (middle_normed, middle_rstd) = self.norm(rec, middle, norms.before_feed_forward, None);
        let gate_up = pass.activation(rec, self.layer.gate_up().stride);
        let t_gate_up = self.project(rec, Group::GateUp, middle_normed, None, gate_up);
        let act = pass.activation(rec, self.layer.ffn.padded);
        glu::forward(rec, self.layer.act, self.glu_params(), gate_up, act);
        let t_down = self.group(Group::Down).t(rec, act);

        LayerActivations {
            x,
            normed,
            rstd,
            raw_qkv,
            qkv,
            attended,
            lse,
            after_attention,
            middle,
            middle_normed,
            middle_rstd,
            gate_up,
            act,
            t: ByGroup([t_qkv, t_output, t_gate_up, t_down]),
            after_feed_forward: None,
        }
    }

    /// Records the layer's last product, with the norm behind it where there is one, and returns the output.
    fn output(&self, rec: &mut Recorder, acts: &mut LayerActivations) -> Tensor {
        let hidden = self.pass.model.architecture.hidden.padded;
        let (down, y) = (self.group(Group::Down), self.pass.activation(rec, hidden));
        let t = &acts.t[Group::Down];
        let Some(weight) = self.weights.norms.after_feed_forward else {
            down.forward(rec, acts.act, t, Some(acts.middle), y);
            return y;
        };
        down.forward(rec, acts.act, t, None, y);
        let (normed, rstd) = self.norm(rec, y, weight, Some(acts.middle));
        acts.after_feed_forward = Some(NormedOutput { inp: y, rstd });
        normed
    }

    fn backward(&self, rec: &mut Recorder, acts: &LayerActivations, backward: Backward) -> Option<Tensor> {
        let pass = self.pass;
        let (norms, hidden) = (self.weights.norms, pass.model.architecture.hidden.padded);
        let dy = backward.dy;

        let ddown = self.norm_behind_backward(rec, norms.after_feed_forward, acts.after_feed_forward, dy);
        let dact = pass.activation(rec, self.layer.ffn.padded);
        self.backward_of(rec, Group::Down, acts, Upstream { dy: ddown, x: acts.act, dx: Some(dact) });
        // The gradients of the GLU take the place of its inputs.
        glu::backward(rec, self.layer.act, self.glu_params(), dact, acts.gate_up);
        let dnormed = pass.activation(rec, hidden);
        let upstream = Upstream { dy: acts.gate_up, x: acts.middle_normed, dx: Some(dnormed) };
        self.backward_of(rec, Group::GateUp, acts, upstream);
        let dmiddle = pass.activation(rec, hidden);
        let tensors = rms_norm::Backward {
            dout: dnormed,
            inp: acts.middle,
            weight: norms.before_feed_forward,
            rstd: acts.middle_rstd,
            dresidual: Some(dy),
            dinp: dmiddle,
        };
        self.norm_backward(rec, tensors);

        let dattended = pass.activation(rec, self.layer.attention.queries().padded);
        let doutput = self.norm_behind_backward(rec, norms.after_attention, acts.after_attention, dmiddle);
        let upstream = Upstream { dy: doutput, x: acts.attended, dx: Some(dattended) };
        self.backward_of(rec, Group::Output, acts, upstream);
        let dqkv = self.attend_backward(rec, acts, dattended);
        self.rotate(rec, dqkv, -1.0);
        if let Some((weights, raw)) = self.weights.head_norm.zip(acts.raw_qkv) {
            self.head_norm_backward(rec, raw, weights, dqkv);
        }

        let norm_learns = pass.gradient(norms.before_attention).is_some();
        let dnormed = (backward.wants_dx || norm_learns).then(|| pass.activation(rec, hidden));
        self.backward_of(rec, Group::Qkv, acts, Upstream { dy: dqkv, x: acts.normed, dx: dnormed });
        let dx = pass.activation(rec, hidden);
        let tensors = rms_norm::Backward {
            dout: dnormed?,
            inp: acts.x,
            weight: norms.before_attention,
            rstd: acts.rstd,
            dresidual: Some(dmiddle),
            dinp: dx,
        };
        self.norm_backward(rec, tensors);
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

    /// The normed rows of `inp` [M, H], with `residual` added, and the reciprocal roots.
    fn norm(
        &self,
        rec: &mut Recorder,
        inp: Tensor,
        weight: Tensor,
        residual: Option<Tensor>,
    ) -> (Tensor, Tensor) {
        let out = self.pass.activation(rec, self.pass.model.architecture.hidden.padded);
        let rstd = self.pass.activation(rec, 1);
        rms_norm::forward(rec, self.norm_params(), rms_norm::Forward { inp, weight, residual, out, rstd });
        (out, rstd)
    }

    /// The gradient of a block's output from that of what was added to the residual stream, which is the same where
    /// no norm lies between.
    fn norm_behind_backward(
        &self,
        rec: &mut Recorder,
        weight: Option<Tensor>,
        output: Option<NormedOutput>,
        dout: Tensor,
    ) -> Tensor {
        let Some((weight, NormedOutput { inp, rstd })) = weight.zip(output) else { return dout };
        let dinp = self.pass.activation(rec, self.pass.model.architecture.hidden.padded);
        let tensors = rms_norm::Backward { dout, inp, weight, rstd, dresidual: None, dinp };
        self.norm_backward(rec, tensors);
        dinp
    }

    fn norm_backward(&self, rec: &mut Recorder, tensors: rms_norm::Backward) {
        rms_norm::backward(rec, self.norm_params(), tensors);
        let rms_norm::Backward { dout, inp, weight, rstd, .. } = tensors;
        if let Some(gradient) = self.pass.gradient(weight) {
            rms_norm::weight_gradient(rec, self.norm_params(), dout, inp, rstd, gradient);
        }
    }

    /// Replaces the gradient of normed heads by that of the heads as they were projected.
    fn head_norm_backward(&self, rec: &mut Recorder, raw: Tensor, weights: head_norm::Weights, dqkv: Tensor) {
        let params = self.head_norm_params();
        for (params, weight) in params.by_weight().into_iter().zip([weights.q, weights.k]) {
            if let Some(gradient) = self.pass.gradient(weight) {
                head_norm::weight_gradient(rec, params, raw, dqkv, gradient);
            }
        }
        head_norm::backward(rec, params, raw, weights, dqkv);
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

    fn glu_params(&self) -> glu::Params {
        let GateUpColumns { width, up, stride } = self.layer.gate_up();
        glu::Params {
            rows: self.pass.rows.count as u32,
            cols: self.layer.ffn.padded as u32,
            width: width as u32,
            up: up as u32,
            stride: stride as u32,
        }
    }

    fn head_norm_params(&self) -> head_norm::Params {
        let attention = self.attention_params();
        head_norm::Params {
            rows: attention.rows,
            stride: attention.q_stride,
            q_offset: attention.q_offset,
            k_offset: attention.k_offset,
            q_heads: attention.q_heads,
            kv_heads: attention.kv_heads,
            head_dim: attention.head_dim,
            eps: self.pass.model.architecture.eps,
        }
    }

    fn attention_params(&self) -> attention::Params {
        let Attention { q_heads, kv_heads, head_dim, scale, .. } = self.layer.attention;
        let QkvColumns { k, v, stride } = self.layer.qkv();
        attention::Params {
            rows: self.pass.rows.count as u32,
            q_stride: stride as u32,
            q_offset: 0,
            kv_stride: stride as u32,
            k_offset: k as u32,
            v_offset: v as u32,
            out_stride: self.layer.attention.queries().padded as u32,
            q_heads: q_heads as u32,
            kv_heads: kv_heads as u32,
            head_dim: head_dim as u32,
            scale,
            first_row: 0,
        }
    }

    fn rotate(&self, rec: &mut Recorder, qkv: Tensor, sign: f32) {
        let attention = self.attention_params();
        let Some(rope) = self.layer.attention.rope else { return };
        let rotary_dim = self.pass.model.architecture.ropes[rope].rotary_dim as u32;
        let params = rope::Params {
            rows: attention.rows,
            stride: attention.q_stride,
            q_offset: attention.q_offset,
            k_offset: attention.k_offset,
            q_heads: attention.q_heads,
            kv_heads: attention.kv_heads,
            head_dim: attention.head_dim,
            rotary_dim,
            sign,
            table_stride: rotary_dim / 2,
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
        // Keys and values lie at whole vectors in the cache, but without the padding of a row.
        let kv_width = self.layer.attention.keys().real as u32;
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
        let dqkv = pass.activation(rec, self.layer.qkv().stride);
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
