//! Where copies of a model's weights lie: one behind another in segments, apart by what becomes of them.

use std::collections::HashMap;
use std::ops::Range;

use super::Choice;
use crate::bail;
use crate::error::Result;
use crate::kernels::head_norm;
use crate::kernels::linear::Weight;
use crate::memory::{ALIGNMENT, MAX_BINDING, Tensor};
use crate::model::architecture::{Architecture, Group, Width, pad8};
use crate::model::names::{EMBEDDING, FINAL_NORM, HEAD, LAYERS};
use crate::model::parameters::{Entry, EntryPlace};
use crate::model::weights::{Bias, Model, NormWeights, Part, Slab, Stacked};

/// The most values of a segment.
const SEGMENT_VALUES: usize = (MAX_BINDING / 4) as usize;

/// What becomes of the values of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Learns {
        decays: bool,
    },
    /// They only stand beside others that learn.
    Stays,
}

impl Kind {
    /// Whether they are those of matrices: these decay, and norms and biases do not.
    pub fn is_of_matrices(self) -> bool {
        self == Kind::Learns { decays: true }
    }
}

/// What is copied.
#[derive(Clone, Copy, Debug)]
pub(super) enum From {
    Matrix(Weight),
    /// Columns of a vector that bindings may not be able to start at.
    Columns {
        of: Tensor,
        at: usize,
    },
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Size {
    pub rows: usize,
    pub depth: Width,
}

/// A copy before it is kept: its segment and the first value there.
#[derive(Clone, Copy)]
pub(super) struct Planned {
    pub segment: usize,
    pub first: usize,
    pub from: From,
    pub size: Size,
}

impl Planned {
    /// How many values it has, padding among them.
    pub fn values(&self) -> usize {
        self.size.rows * self.size.depth.padded
    }

    /// Where `rows` of an entry lie, the first of which is row `at` of the copy.
    fn rows(&self, rows: Range<usize>, at: usize) -> EntryPlace {
        let stride = self.size.depth.padded;
        EntryPlace { rows, segment: self.segment, first: self.first + at * stride, stride }
    }

    /// Where `rows` of an entry without columns lie, the first of which is value `at` of the copy.
    fn of_vector(&self, rows: Range<usize>, at: usize) -> EntryPlace {
        EntryPlace { rows, segment: self.segment, first: self.first + at, stride: 1 }
    }
}

/// A slab of an embedding or a head whose weight is that of a copy.
pub(super) type PlannedSlab = (Slab, Planned);

/// Plans copies, one behind another in segments, apart by what becomes of them.
pub(super) struct Layout<'a> {
    pub choice: &'a Choice<'a>,
    /// Values of each segment.
    pub segments: Vec<(usize, Kind)>,
    pub planned: Vec<Planned>,
    pub entries: Vec<Entry>,
    /// Those that take the places of the model's, by what these are to it.
    pub embedding: Option<Vec<PlannedSlab>>,
    pub head: Option<Vec<PlannedSlab>>,
    /// Norms and weights of products, by what they were copied from.
    pub layers: HashMap<Tensor, Planned>,
    /// Biases of products with the column at which they begin.
    pub biases: HashMap<Tensor, Vec<(usize, Planned)>>,
}

impl<'a> Layout<'a> {
    /// Plans copies of what `choice` names of a model.
    ///
    /// # Errors
    ///
    /// Code `bad-option` for biases that the model scales.
    pub fn of(model: &Model, choice: &'a Choice<'a>) -> Result<Self> {
        let mut layout = Layout {
            choice,
            segments: Vec::new(),
            planned: Vec::new(),
            entries: Vec::new(),
            embedding: None,
            head: None,
            layers: HashMap::new(),
            biases: HashMap::new(),
        };
        layout.model(model)?;
        Ok(layout)
    }

    fn name(&self, name: &str) -> Option<String> {
        (self.choice.name)(name)
    }

    /// Values between places in a segment that bindings can start at, whatever passes read the values in.
    fn step(&self) -> usize {
        let bytes_of_eight = 4 * self.choice.format.row_words(8);
        8 * ALIGNMENT as usize / bytes_of_eight
    }

    fn place(&mut self, from: From, size: Size, kind: Kind) -> Planned {
        let len = (size.rows * size.depth.padded).next_multiple_of(self.step());
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
        let places = vec![planned.of_vector(0..length, 0)];
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
                let place = planned.of_vector(part.real_rows(), part.at);
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
                self.entry(name, &[part.module.outputs.real], planned.of_vector(part.real_rows(), 0));
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
