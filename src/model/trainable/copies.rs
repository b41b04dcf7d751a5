//! Weights of the model that learn: copies in f32, which stand in the places of what they were copied from, so that
//! the model itself stays what it was.

use std::collections::HashMap;
use std::ops::Range;

use super::lora::padded;
use crate::adapter::row_pieces;
use crate::bail;
use crate::device::Store;
use crate::error::Result;
use crate::format::WeightFormat;
use crate::kernels::linear::{self, Weight};
use crate::kernels::{Recorder, bias, head_norm};
use crate::memory::{ALIGNMENT, Class, MAX_BINDING, Tensor};
use crate::model::architecture::{Architecture, Group, Width, pad8};
use crate::model::names::{EMBEDDING, FINAL_NORM, HEAD, LAYERS};
use crate::model::parameters::{Entry, EntryPlace, Parameters};
use crate::model::weights::{Bias, Model, NormWeights, Part, Slab, Stacked};

/// The most values of a segment.
const SEGMENT_VALUES: usize = (MAX_BINDING / 4) as usize;
/// Values between places in a segment that bindings can start at.
const STEP: usize = ALIGNMENT as usize / 4;

/// Which weights of a model are copied.
pub(super) struct Choice<'a> {
    /// What a weight is called among all that learns, by its name in a checkpoint; `None` for one that stays the model's.
    /// A linear layer is taken with all that is stacked with it.
    pub name: &'a dyn Fn(&str) -> Option<String>,
    /// Whether a tied head is the copy of the embedding, rather than what the embedding was.
    pub keeps_ties: bool,
}

/// Copies of some weights of a model. By themselves they do not learn.
pub(super) struct Copies {
    /// The model with them in the places of what they were copied from.
    pub model: Model,
    segments: Vec<(Tensor, Kind)>,
    entries: Vec<Entry>,
    copied: Vec<Copied>,
}

/// What becomes of the values of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Learns {
        decays: bool,
    },
    /// They only stand beside others that learn.
    Stays,
}

/// What is copied.
#[derive(Clone, Copy, Debug)]
enum From {
    Matrix(Weight),
    /// Columns of a vector that bindings may not be able to start at.
    Columns {
        of: Tensor,
        at: usize,
    },
}

/// Values of the model and the f32 copy of them.
#[derive(Clone, Copy, Debug)]
struct Copied {
    from: From,
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

/// A copy before it is kept: its segment and the first value there.
#[derive(Clone, Copy)]
struct Planned {
    segment: usize,
    first: usize,
    from: From,
    size: Size,
}

impl Planned {
    /// Where `rows` of an entry lie, the first of which is row `at` of the copy.
    fn rows(&self, rows: Range<usize>, at: usize) -> EntryPlace {
        let stride = self.size.depth.padded;
        EntryPlace { rows, segment: self.segment, first: self.first + at * stride, stride }
    }

    /// Where `rows` of an entry without columns lie, the first of which is value `at` of the copy.
    fn values(&self, rows: Range<usize>, at: usize) -> EntryPlace {
        EntryPlace { rows, segment: self.segment, first: self.first + at, stride: 1 }
    }
}

/// A slab of an embedding or a head whose weight is that of a copy.
type PlannedSlab = (Slab, Planned);

/// Plans copies, one behind another in segments, apart by what becomes of them.
struct Layout<'a> {
    choice: &'a Choice<'a>,
    /// Values of each segment.
    segments: Vec<(usize, Kind)>,
    planned: Vec<Planned>,
    entries: Vec<Entry>,
    /// Those that take the places of the model's, by what these are to it.
    embedding: Option<Vec<PlannedSlab>>,
    head: Option<Vec<PlannedSlab>>,
    layers: HashMap<Tensor, Planned>,
    biases: HashMap<Tensor, Vec<(usize, Planned)>>,
}

impl<'a> Layout<'a> {
    fn new(choice: &'a Choice<'a>) -> Self {
        Layout {
            choice,
            segments: Vec::new(),
            planned: Vec::new(),
            entries: Vec::new(),
            embedding: None,
            head: None,
            layers: HashMap::new(),
            biases: HashMap::new(),
        }
    }

    fn name(&self, name: &str) -> Option<String> {
        (self.choice.name)(name)
    }

    fn place(&mut self, from: From, size: Size, kind: Kind) -> Planned {
        let len = (size.rows * size.depth.padded).next_multiple_of(STEP);
        let fits = |&(end, of): &(usize, Kind)| of == kind && end + len <= SEGMENT_VALUES;
        let segment = self.segments.iter().rposition(fits).unwrap_or_else(|| {
            self.segments.push((0, kind));
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
    fn place_vector(&mut self, from: From, cols: usize, kind: Kind) -> Planned {
        self.place(from, Size { rows: 1, depth: Width::new(cols) }, kind)
    }

    /// The weight of a norm. `offset` is as [`Entry`] has it.
    fn norm(&mut self, name: &str, from: Tensor, length: usize, offset: f32) {
        let Some(name) = self.name(name) else { return };
        let (cols, matrix) = ((from.size() / 4) as usize, From::Matrix(Weight::f32(from)));
        let planned = self.place_vector(matrix, cols, Kind::Learns { decays: false });
        let places = vec![planned.values(0..length, 0)];
        self.entries.push(Entry { name, shape: vec![length], places, offset });
        self.layers.insert(from, planned);
    }

    /// The rows of an embedding or a head: what a slab has in fewer bits may be too long for one binding in f32.
    fn table(&mut self, name: &str, slabs: &[Slab], shape: [Width; 2]) -> Option<Vec<PlannedSlab>> {
        let (name, [vocab, depth]) = (self.name(name)?, shape);
        let mut planned = Vec::new();
        for slab in slabs {
            let most = (SEGMENT_VALUES / depth.padded / slab.step()).max(1) * slab.step();
            for first in (0..slab.n_ids).step_by(most) {
                let part = match slab.n_ids <= most {
                    true => *slab,
                    false => slab.part(first, most.min(slab.n_ids - first), depth.padded),
                };
                let size = Size { rows: pad8(part.n_ids), depth };
                let copy = self.place(From::Matrix(part.weight), size, Kind::Learns { decays: true });
                let rows = part.first_id..part.first_id + part.n_ids;
                self.entry(name.clone(), &[vocab.real, depth.real], copy.rows(rows, 0));
                planned.push((part, copy));
            }
        }
        Some(planned)
    }

    fn product(&mut self, prefix: &str, stacked: &Stacked) {
        let named = |layout: &Self, part: &Part| {
            layout.name(&format!("{prefix}.{}.weight", part.module.path)).map(|name| (name, part.clone()))
        };
        let learns: Vec<_> = stacked.parts().filter_map(|part| named(self, &part)).collect();
        if learns.is_empty() {
            return;
        }
        let size = Size { rows: stacked.cols(), depth: stacked.inputs() };
        let planned = self.place(From::Matrix(stacked.weight), size, Kind::Learns { decays: true });
        for (name, part) in learns {
            self.entry(name, &part.module.shape(), planned.rows(part.real_rows(), part.at));
        }
        self.layers.insert(stacked.weight.values, planned);
    }

    /// The biases of a product: in one copy where all its modules' learn, otherwise one for each module, so that what
    /// learns has a place apart. `scale` is what loading multiplied them by.
    fn bias(&mut self, prefix: &str, stacked: &Stacked, scale: f32) -> Result<()> {
        let Some(Bias { cols, values, .. }) = stacked.biases.first().copied() else { return Ok(()) };
        let named: Vec<(Part, Option<String>)> = stacked
            .parts()
            .map(|part| {
                let name = format!("{prefix}.{}.bias", part.module.path);
                let name = part.module.has_bias.then(|| self.name(&name)).flatten();
                (part, name)
            })
            .collect();
        if named.iter().all(|(_, name)| name.is_none()) {
            return Ok(());
        }
        if scale != 1.0 {
            bail!(
                BadOption,
                "the biases of {prefix}.{} do not learn, because the model multiplies them by {scale}: set lora.bias to \
                 \"none\", or train an adapter instead of all weights",
                named[0].0.module.path
            );
        }
        let learns = Kind::Learns { decays: false };
        if named.iter().all(|(_, name)| name.is_some()) {
            let planned = self.place_vector(From::Matrix(Weight::f32(values)), cols, learns);
            self.biases.insert(values, vec![(0, planned)]);
            for (part, name) in named {
                let place = planned.values(part.real_rows(), part.at);
                self.entry(name.expect("all have one"), &[part.module.outputs.real], place);
            }
            return Ok(());
        }
        let mut pieces = Vec::new();
        for (part, name) in named.into_iter().filter(|(part, _)| part.module.has_bias) {
            let kind = if name.is_some() { learns } else { Kind::Stays };
            let from = From::Columns { of: values, at: part.at };
            let planned = self.place_vector(from, part.rows.len(), kind);
            pieces.push((part.at, planned));
            if let Some(name) = name {
                self.entry(name, &[part.module.outputs.real], planned.values(part.real_rows(), 0));
            }
        }
        self.biases.insert(values, pieces);
        Ok(())
    }

    /// All weights that the choice names, in the order of a model's files.
    fn model(&mut self, model: &Model) -> Result<()> {
        let Architecture { hidden, vocab, tied, .. } = model.architecture;
        let offset = if model.architecture.norms_add_one { 1.0 } else { 0.0 };
        self.embedding = self.table(EMBEDDING, &model.embedding, [vocab, hidden]);
        for (number, (weights, layer)) in model.layers.iter().zip(&model.architecture.layers).enumerate() {
            let prefix = format!("{LAYERS}.{number}");
            let NormWeights { before_attention, after_attention, before_feed_forward, after_feed_forward } =
                weights.norms;
            let of_norms =
                [Some(before_attention), Some(before_feed_forward), after_attention, after_feed_forward];
            for (path, tensor) in layer.norms.paths().zip(of_norms.into_iter().flatten()) {
                self.norm(&format!("{prefix}.{path}.weight"), tensor, hidden.real, offset);
            }
            if let Some(([q_path, k_path], head_norm::Weights { q, k })) =
                layer.attention.head_norm.zip(weights.head_norm)
            {
                for (path, tensor) in [(q_path, q), (k_path, k)] {
                    self.norm(&format!("{prefix}.{path}.weight"), tensor, layer.attention.head_dim, offset);
                }
            }
            for group in Group::ALL {
                for stacked in &weights.groups[group] {
                    self.product(&prefix, stacked);
                    self.bias(&prefix, stacked, layer.scale(group))?;
                }
            }
        }
        self.norm(FINAL_NORM, model.norm, hidden.real, offset);
        self.head = match tied && self.choice.keeps_ties {
            true => self.embedding.clone(),
            false => self.table(HEAD, &model.head, [vocab, hidden]),
        };
        Ok(())
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
        let mut layout = Layout::new(choice);
        layout.model(model)?;
        let mut segments = Vec::new();
        for &(len, kind) in &layout.segments {
            segments.push((store.keep(Class::Adapter, "trained weights", len)?, kind));
        }
        let tensor = |planned: &Planned| {
            let bytes = 4 * (planned.size.rows * planned.size.depth.padded) as u64;
            segments[planned.segment].0.slice(4 * planned.first as u64, bytes)
        };
        let copied = layout
            .planned
            .iter()
            .map(|planned| Copied { from: planned.from, to: tensor(planned), size: planned.size })
            .collect();
        let model = replaced(model, &layout, &tensor);
        Ok(Copies { model, segments, entries: layout.entries, copied })
    }

    /// Lets the copies learn.
    pub(super) fn register(&self, parameters: &mut Parameters) {
        // Where each segment is among all that learns.
        let mut numbers = Vec::new();
        let mut learning = 0;
        for &(param, kind) in &self.segments {
            numbers.push(parameters.segments().len());
            if let Kind::Learns { decays } = kind {
                parameters.add(format!("weights.{learning}"), param, decays);
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
            let [_, cols] = entry.size();
            for EntryPlace { rows: own, segment, first, stride } in &entry.places {
                for piece in row_pieces(own.len(), cols) {
                    let at = 4 * (first + piece.start * stride) as u64;
                    let mut values = rows(entry, own.start + piece.start..own.start + piece.end);
                    values.iter_mut().for_each(|value| *value += entry.offset);
                    store.write_at(self.segments[*segment].0, at, &padded(values, cols, *stride));
                }
            }
        }
    }
}

/// The model with copies in the places of tensors that have one.
fn replaced(model: &Model, layout: &Layout<'_>, place: &dyn Fn(&Planned) -> Tensor) -> Model {
    let mut model = model.clone();
    let slabs = |slabs: &Option<Vec<PlannedSlab>>| -> Option<Vec<Slab>> {
        let slab = |(slab, planned): &PlannedSlab| {
            let values = place(planned);
            let weight = Weight { role: slab.weight.role, ..Weight::f32(values) };
            Slab { weight, ..*slab }
        };
        slabs.as_ref().map(|slabs| slabs.iter().map(slab).collect())
    };
    let (embedding, head) = (slabs(&layout.embedding), slabs(&layout.head));
    model.architecture.tied &= layout.choice.keeps_ties || (embedding.is_none() && head.is_none());
    model.embedding = embedding.unwrap_or(model.embedding);
    model.head = head.unwrap_or(model.head);
    let tensor = |tensor: &mut Tensor| {
        if let Some(planned) = layout.layers.get(tensor) {
            *tensor = place(planned);
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
                let values = place(planned);
                stacked.weight = Weight { role: stacked.weight.role, ..Weight::f32(values) };
            }
            let copied = stacked.biases.first().and_then(|bias| layout.biases.get(&bias.values));
            if let Some(pieces) = copied {
                let piece = |(at, planned): &(usize, Planned)| Bias {
                    at: *at,
                    cols: planned.size.depth.padded,
                    values: place(planned),
                };
                stacked.biases = pieces.iter().map(piece).collect();
            }
        }
    }
    tensor(&mut model.norm);
    model
}
