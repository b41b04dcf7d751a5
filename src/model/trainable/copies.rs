//! Weights of the model that learn: copies in f32, which stand in the places of what they were copied from, so that
//! the model itself stays what it was.

use std::collections::HashMap;
use std::ops::Range;

use crate::device::Store;
use crate::error::Result;
use crate::format::WeightFormat;
use crate::kernels::linear::{self, Weight};
use crate::kernels::{Recorder, head_norm};
use crate::memory::{ALIGNMENT, Class, MAX_BINDING, Tensor};
use crate::model::architecture::{Architecture, Width, pad8};
use crate::model::names::{EMBEDDING, FINAL_NORM, HEAD, LAYERS};
use crate::model::parameters::{Entry, EntryPlace, Parameters};
use crate::model::weights::{Model, NormWeights, Part, Slab, Stacked};

/// The most values of a segment.
const SEGMENT_VALUES: usize = (MAX_BINDING / 4) as usize;
/// Values between places in a segment that bindings can start at.
const STEP: usize = ALIGNMENT as usize / 4;

/// A matrix of the model and the f32 copy of it that learns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copied {
    from: Weight,
    to: Tensor,
    size: Size,
}

#[derive(Clone, Copy, Debug)]
struct Size {
    rows: usize,
    depth: Width,
}

impl Copied {
    /// Records the making of the copy.
    pub(super) fn record(&self, rec: &mut Recorder) {
        let Copied { from, to, size: Size { rows, depth } } = *self;
        if from.format == WeightFormat::F32 {
            return rec.copy(from.values, to);
        }
        let params =
            linear::Params { true_depth: depth.real as u32, ..linear::Params::plain(1, rows, depth.padded) };
        linear::decode(rec, params, from, to);
    }
}

/// A copy before it is kept: its segment and the first value there.
#[derive(Clone, Copy)]
struct Planned {
    segment: usize,
    first: usize,
    from: Weight,
    size: Size,
}

impl Planned {
    /// Where `rows` of an entry lie, the first of which is row `at` of the copy.
    fn rows(&self, rows: Range<usize>, at: usize) -> EntryPlace {
        let stride = self.size.depth.padded;
        EntryPlace { rows, segment: self.segment, first: self.first + at * stride, stride }
    }
}

/// Plans copies, one behind another in segments, those that weight decay shrinks apart from the others.
#[derive(Default)]
struct Layout {
    /// Values of each segment, and whether they decay.
    segments: Vec<(usize, bool)>,
    planned: Vec<Planned>,
    entries: Vec<Entry>,
}

impl Layout {
    fn place(&mut self, from: Weight, size: Size, decays: bool) -> Planned {
        let len = (size.rows * size.depth.padded).next_multiple_of(STEP);
        let fits = |&(end, of): &(usize, bool)| of == decays && end + len <= SEGMENT_VALUES;
        let segment = self.segments.iter().rposition(fits).unwrap_or_else(|| {
            self.segments.push((0, decays));
            self.segments.len() - 1
        });
        let planned = Planned { segment, first: self.segments[segment].0, from, size };
        self.segments[segment].0 += len;
        self.planned.push(planned);
        planned
    }

    /// Adds rows to the entry `name`, which begins with them.
    fn entry(&mut self, name: String, shape: &[usize], place: EntryPlace) {
        match self.entries.iter_mut().find(|entry| entry.name == name) {
            Some(entry) => entry.places.push(place),
            None => {
                self.entries.push(Entry { name, shape: shape.to_vec(), places: vec![place], offset: 0.0 });
            }
        }
    }

    /// A copy of values that are no matrix.
    fn place_vector(&mut self, from: Tensor) -> Planned {
        let depth = Width::new((from.size() / 4) as usize);
        self.place(Weight::f32(from), Size { rows: 1, depth }, false)
    }

    /// The weight of a norm. `offset` is as [`Entry`] has it.
    fn norm(&mut self, name: String, from: Tensor, length: usize, offset: f32) {
        let Planned { segment, first, .. } = self.place_vector(from);
        let places = vec![EntryPlace { rows: 0..length, segment, first, stride: 1 }];
        self.entries.push(Entry { name, shape: vec![length], places, offset });
    }

    fn table(&mut self, name: &str, slabs: &[Slab], shape: [Width; 2]) {
        let [vocab, depth] = shape;
        for Slab { first_id, n_ids, weight } in slabs {
            let planned = self.place(*weight, Size { rows: pad8(*n_ids), depth }, true);
            let place = planned.rows(*first_id..first_id + n_ids, 0);
            self.entry(name.to_owned(), &[vocab.real, depth.real], place);
        }
    }

    fn product(&mut self, layer: usize, stacked: &Stacked) {
        let size = Size { rows: stacked.cols(), depth: stacked.inputs() };
        let planned = self.place(stacked.weight, size, true);
        let path = |part: &Part| format!("{LAYERS}.{layer}.{}", part.module.path);
        for part in stacked.parts() {
            let place = planned.rows(part.real_rows(), part.at);
            self.entry(format!("{}.weight", path(&part)), &part.module.shape(), place);
        }
        let Some(bias) = stacked.bias else { return };
        let Planned { segment, first, .. } = self.place_vector(bias);
        for part in stacked.parts().filter(|part| part.module.has_bias) {
            let place = EntryPlace { rows: part.real_rows(), segment, first: first + part.at, stride: 1 };
            self.entry(format!("{}.bias", path(&part)), &[part.module.outputs.real], place);
        }
    }

    /// All weights, in the order of a model's files.
    fn model(&mut self, model: &Model) {
        let Architecture { hidden, vocab, tied, .. } = model.architecture;
        let offset = if model.architecture.norms_add_one { 1.0 } else { 0.0 };
        self.table(EMBEDDING, &model.embedding, [vocab, hidden]);
        for (number, (weights, layer)) in model.layers.iter().zip(&model.architecture.layers).enumerate() {
            let prefix = format!("{LAYERS}.{number}");
            let NormWeights { before_attention, after_attention, before_feed_forward, after_feed_forward } =
                weights.norms;
            let of_norms =
                [Some(before_attention), Some(before_feed_forward), after_attention, after_feed_forward];
            for (path, tensor) in layer.norms.paths().zip(of_norms.into_iter().flatten()) {
                self.norm(format!("{prefix}.{path}.weight"), tensor, hidden.real, offset);
            }
            if let Some(([q_path, k_path], head_norm::Weights { q, k })) =
                layer.attention.head_norm.zip(weights.head_norm)
            {
                for (path, tensor) in [(q_path, q), (k_path, k)] {
                    self.norm(format!("{prefix}.{path}.weight"), tensor, layer.attention.head_dim, offset);
                }
            }
            for stacked in weights.groups.0.iter().flatten() {
                self.product(number, stacked);
            }
        }
        self.norm(FINAL_NORM.to_owned(), model.norm, hidden.real, offset);
        if !tied {
            self.table(HEAD, &model.head, [vocab, hidden]);
        }
    }
}

/// Keeps a copy of every weight of `model` in `store` and lets it learn. Returns the model of the copies, which hold
/// nothing before their making is recorded and run.
pub(super) fn copy_all(
    model: &Model,
    parameters: &mut Parameters,
    store: &mut Store,
) -> Result<(Model, Vec<Copied>)> {
    let mut layout = Layout::default();
    layout.model(model);
    let mut segments = Vec::new();
    for (index, &(len, decays)) in layout.segments.iter().enumerate() {
        let param = store.keep(Class::Adapter, "trained weights", len)?;
        parameters.add(format!("weights.{index}"), param, decays);
        segments.push(param);
    }
    layout.entries.into_iter().for_each(|entry| parameters.add_entry(entry));
    let copies: Vec<Copied> = layout
        .planned
        .iter()
        .map(|&Planned { segment, first, from, size }| {
            let bytes = 4 * (size.rows * size.depth.padded) as u64;
            Copied { from, to: segments[segment].slice(4 * first as u64, bytes), size }
        })
        .collect();
    let places: HashMap<Tensor, Tensor> =
        copies.iter().map(|copied| (copied.from.values, copied.to)).collect();
    Ok((replaced(model, &places), copies))
}

/// The model with its tensors replaced by their copies.
fn replaced(model: &Model, places: &HashMap<Tensor, Tensor>) -> Model {
    let mut model = model.clone();
    let tensor = |tensor: &mut Tensor| *tensor = places[tensor];
    let weight = |weight: &mut Weight| {
        let to = places[&weight.values];
        *weight = Weight { format: WeightFormat::F32, values: to, scales: to, is_nested: false, ..*weight };
    };
    for slab in model.embedding.iter_mut().chain(&mut model.head) {
        weight(&mut slab.weight);
    }
    for layer in &mut model.layers {
        let NormWeights { before_attention, after_attention, before_feed_forward, after_feed_forward } =
            &mut layer.norms;
        [before_attention, before_feed_forward].into_iter().for_each(tensor);
        [after_attention, after_feed_forward].into_iter().flatten().for_each(tensor);
        if let Some(head_norm::Weights { q, k }) = &mut layer.head_norm {
            [q, k].into_iter().for_each(tensor);
        }
        for stacked in layer.groups.0.iter_mut().flatten() {
            weight(&mut stacked.weight);
            stacked.bias.iter_mut().for_each(tensor);
        }
    }
    tensor(&mut model.norm);
    model
}
