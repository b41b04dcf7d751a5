//! Weights of the model that learn: copies in f32, which stand in the places of what they were copied from, so that
//! the model itself stays what it was. Where matrices are read in 16 bits, these are rounded from the copies, which then
//! are their masters.

mod layout;

use std::ops::Range;

use self::layout::{From, Kind, Layout, Planned, PlannedSlab, Size};
use crate::device::Store;
use crate::error::Result;
use crate::format::WeightFormat;
use crate::kernels::linear::{self, Weight};
use crate::kernels::{Recorder, bias, head_norm};
use crate::memory::{Class, Tensor};
use crate::model::parameters::{Entry, Parameters, Rounded, write_rows};
use crate::model::weights::{Bias, Model, NormWeights, Slab};

/// Which weights of a model are copied.
pub(super) struct Choice<'a> {
    /// What a weight is called among all that learns, by its name in a checkpoint; `None` for one that stays the model's.
    /// A linear layer is taken with all that is stacked with it.
    pub name: &'a dyn Fn(&str) -> Option<String>,
    /// Whether a tied head is the copy of the embedding, rather than what the embedding was.
    pub keeps_ties: bool,
    /// How passes read the matrices among them: F32, or F16 or BF16. Norms and biases are always read in f32, since products
    /// gain nothing by fewer bits of these.
    pub format: WeightFormat,
}

/// Copies of some weights of a model. By themselves they do not learn.
pub(super) struct Copies {
    /// The model with them in the places of what they were copied from.
    pub model: Model,
    segments: Vec<Segment>,
    entries: Vec<Entry>,
    copied: Vec<Copied>,
}

/// Copies one behind another.
struct Segment {
    values: Tensor,
    rounded: Option<Rounded>,
    kind: Kind,
}

impl Segment {
    /// Keeps `len` values of a kind, of which passes read matrices in `format`.
    fn keep(store: &mut Store, (len, kind): (usize, Kind), format: WeightFormat) -> Result<Self> {
        if format == WeightFormat::F32 || !kind.is_of_matrices() {
            return Ok(Segment {
                values: store.keep(Class::Adapter, "trained weights", len)?,
                rounded: None,
                kind,
            });
        }
        // Masters are the optimiser's alone.
        let values = store.keep(Class::Optimizer, "masters of weights", len)?;
        let rounded =
            Rounded { format, values: store.keep(Class::Adapter, "trained weights", format.row_words(len))? };
        Ok(Segment { values, rounded: Some(rounded), kind })
    }

    /// The f32 values of a copy that lies in it.
    fn of(&self, planned: &Planned) -> Tensor {
        self.values.slice(4 * planned.first as u64, 4 * planned.values() as u64)
    }

    /// What passes read of a matrix that lies in it.
    fn weight(&self, planned: &Planned) -> Weight {
        let Some(Rounded { format, values }) = self.rounded else { return Weight::f32(self.of(planned)) };
        let [start, len] =
            [planned.first, planned.values()].map(|values| 4 * format.row_words(values) as u64);
        let values = values.slice(start, len);
        Weight::new(format, values, values)
    }
}

/// Values of the model and the f32 copy of them.
#[derive(Clone, Copy, Debug)]
struct Copied {
    from: From,
    to: Tensor,
    size: Size,
}

impl Copied {
    /// Records the making of the copy.
    fn record(&self, rec: &mut Recorder) {
        let Copied { from, to, size: Size { rows, depth } } = *self;
        match from {
            From::Matrix(from) if from.format == WeightFormat::F32 => rec.copy(from.values, to),
            From::Matrix(from) => {
                let params = linear::Params {
                    true_depth: depth.real as u32,
                    ..linear::Params::plain(1, rows, depth.padded)
                };
                linear::decode(rec, params, from, to);
            }
            From::Columns { of, at } => {
                // Columns are their own sum over one row; a copy would have to start where a binding can.
                let [stride, cols] = [(of.size() / 4) as u32, depth.padded as u32];
                bias::gradient(rec, bias::Params { rows: 1, stride, offset: at as u32, cols }, of, to);
            }
        }
    }
}

impl Copies {
    /// Keeps a copy of each weight of `model` that `choice` names in `store`. They hold nothing before their making is
    /// recorded and run.
    ///
    /// # Errors
    ///
    /// Code `bad-option` for biases that the model scales; `out-of-memory`.
    pub(super) fn new(model: &Model, choice: &Choice<'_>, store: &mut Store) -> Result<Self> {
        let layout = Layout::of(model, choice)?;
        let mut segments = Vec::new();
        for &segment in &layout.segments {
            segments.push(Segment::keep(store, segment, choice.format)?);
        }
        let copied = |planned: &Planned| {
            let to = segments[planned.segment].of(planned);
            Copied { from: planned.from, to, size: planned.size }
        };
        let copied = layout.planned.iter().map(copied).collect();
        let model = replaced(model, &layout, &segments);
        Ok(Copies { model, segments, entries: layout.entries, copied })
    }

    /// Lets the copies learn.
    pub(super) fn register(&self, parameters: &mut Parameters) {
        // Where each segment is among all that learns.
        let mut numbers = Vec::new();
        let mut learning = 0;
        for &Segment { values, rounded, kind } in &self.segments {
            numbers.push(parameters.segments().len());
            if let Kind::Learns { decays } = kind {
                parameters.add(format!("weights.{learning}"), values, decays, rounded);
                learning += 1;
            }
        }
        for entry in &self.entries {
            let mut entry = entry.clone();
            entry.places.iter_mut().for_each(|place| place.segment = numbers[place.segment]);
            parameters.add_entry(entry);
        }
    }

    /// Records the making of the copies.
    pub(super) fn record(&self, rec: &mut Recorder) {
        self.copied.iter().for_each(|copied| copied.record(rec));
    }

    /// Writes what learns as `rows` gives it by name, row by row.
    pub(super) fn write(&self, store: &Store, rows: &mut dyn FnMut(&Entry, Range<usize>) -> Vec<f32>) {
        for entry in &self.entries {
            write_rows(store, entry, |segment| self.segments[segment].values, &mut |own| rows(entry, own));
        }
    }
}

/// The model with copies in the places of tensors that have one.
fn replaced(model: &Model, layout: &Layout<'_>, segments: &[Segment]) -> Model {
    let mut model = model.clone();
    let vector = |planned: &Planned| segments[planned.segment].of(planned);
    let matrix = |planned: &Planned, role| Weight { role, ..segments[planned.segment].weight(planned) };
    let slabs = |slabs: &Option<Vec<PlannedSlab>>| -> Option<Vec<Slab>> {
        let slab =
            |(slab, planned): &PlannedSlab| Slab { weight: matrix(planned, slab.weight.role), ..*slab };
        slabs.as_ref().map(|slabs| slabs.iter().map(slab).collect())
    };
    let (embedding, head) = (slabs(&layout.embedding), slabs(&layout.head));
    model.architecture.tied &= layout.choice.keeps_ties || (embedding.is_none() && head.is_none());
    model.embedding = embedding.unwrap_or(model.embedding);
    model.head = head.unwrap_or(model.head);
    let tensor = |tensor: &mut Tensor| {
        if let Some(planned) = layout.layers.get(tensor) {
            *tensor = vector(planned);
        }
    };
    for layer in &mut model.layers {
        let NormWeights { before_attention, after_attention, before_feed_forward, after_feed_forward } =
            &mut layer.norms;
        [before_attention, before_feed_forward].into_iter().for_each(tensor);
        [after_attention, after_feed_forward].into_iter().flatten().for_each(tensor);
        if let Some(head_norm::Weights { q, k }) = &mut layer.head_norm {
            [q, k].into_iter().for_each(tensor);
        }
        for stacked in layer.groups.0.iter_mut().flatten() {
            if let Some(planned) = layout.layers.get(&stacked.weight.values) {
                stacked.weight = matrix(planned, stacked.weight.role);
            }
            let copied = stacked.biases.first().and_then(|bias| layout.biases.get(&bias.values));
            if let Some(pieces) = copied {
                let piece = |(at, planned): &(usize, Planned)| Bias {
                    at: *at,
                    cols: planned.size.depth.padded,
                    values: vector(planned),
                };
                stacked.biases = pieces.iter().map(piece).collect();
            }
        }
    }
    tensor(&mut model.norm);
    model
}
