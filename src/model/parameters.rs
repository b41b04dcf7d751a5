//! What a run trains: values by name, flat in few buffers, with a gradient for each.

use std::cell::Cell;
use std::ops::Range;

use crate::adapter::row_pieces;
use crate::bail;
use crate::device::{Device, ReadbackRing, Store};
use crate::error::Result;
use crate::files::PIECE_BYTES;
use crate::memory::{Class, Tensor};

/// A flat run of values that one binding holds.
#[derive(Clone, Debug)]
pub struct Segment {
    /// What it is saved as, e.g. `lora.0`.
    pub name: String,
    /// Values, a multiple of 4.
    pub len: usize,
    pub param: Tensor,
    /// Whether weight decay shrinks the values.
    pub decays: bool,
}

/// A matrix or a vector among the values.
#[derive(Clone, Debug)]
pub struct Entry {
    /// As the files have it that people get, e.g. `model.layers.0.self_attn.q_proj.lora_A.weight`.
    pub name: String,
    /// Without padding: rows and columns, or the length of a vector.
    pub shape: Vec<usize>,
    /// Its rows in their order; one place unless a binding is too small for all.
    pub places: Vec<EntryPlace>,
    /// What the values on the device are above those of files, e.g. 1 where a norm multiplies by 1 + w.
    pub offset: f32,
}

/// Where rows of an entry lie.
#[derive(Clone, Debug)]
pub struct EntryPlace {
    pub rows: Range<usize>,
    pub segment: usize,
    /// Of its rows the first value in the segment.
    pub first: usize,
    /// Values from row to row.
    pub stride: usize,
}

impl Entry {
    /// Rows and columns; the values of a vector are rows.
    pub fn size(&self) -> [usize; 2] {
        [self.shape[0], self.shape[1..].iter().product()]
    }
}

/// All that a run trains.
#[derive(Default)]
pub struct Parameters {
    segments: Vec<Segment>,
    /// Of each segment, every value's in the same place; none where the run needs no gradient.
    gradients: Vec<Tensor>,
    entries: Vec<Entry>,
}

impl Parameters {
    /// Lets the values of `param` learn, as the next segment.
    pub(super) fn add(&mut self, name: String, param: Tensor, decays: bool) {
        let len = (param.size() / 4) as usize;
        self.segments.push(Segment { name, len, param, decays });
    }

    pub(super) fn add_entry(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Keeps a gradient of all values in `store`, for a run that needs one.
    pub fn keep_gradients(&mut self, store: &mut Store) -> Result<()> {
        for Segment { name, len, .. } in &self.segments {
            self.gradients.push(store.keep(Class::Optimizer, &format!("gradient of {name}"), *len)?);
        }
        Ok(())
    }

    /// Each segment with its gradient; nothing where none is kept.
    pub fn with_gradients(&self) -> impl Iterator<Item = (&Segment, Tensor)> {
        self.segments.iter().zip(self.gradients.iter().copied())
    }

    /// In the model's order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Where the gradient of a kept tensor, or of a part of one, is added up; `None` for what does not learn or needs
    /// none.
    pub(super) fn gradient(&self, param: Tensor) -> Option<Tensor> {
        self.beside(param, &self.gradients)
    }

    /// The part of `tensors`, one for each segment, that lies as `param` does in its own; `None` for what does not learn.
    pub(super) fn beside(&self, param: Tensor, tensors: &[Tensor]) -> Option<Tensor> {
        let has = |(segment, _): &(&Segment, &Tensor)| {
            let Tensor { place, offset, size } = segment.param;
            place == param.place && offset <= param.offset && param.offset + param.size <= offset + size
        };
        let (segment, tensor) = self.segments.iter().zip(tensors).find(has)?;
        Some(tensor.slice(param.offset - segment.param.offset, param.size))
    }

    /// Reads values of entries.
    pub fn reader<'a>(&'a self, device: &Device, store: &'a Store, part: Part) -> Reader<'a> {
        let largest = self.segments.iter().map(|segment| segment.param.size()).max().unwrap_or(0);
        let ring = ReadbackRing::new(device, largest.min(PIECE_BYTES as u64), 1);
        Reader { parameters: self, store, part, ring: Cell::new(Some(ring)) }
    }
}

/// What is read of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Values,
    /// The gradient of the last step, before it was clipped.
    Gradient,
}

/// Reads rows of entries, so that none is whole on the host.
pub struct Reader<'a> {
    parameters: &'a Parameters,
    store: &'a Store,
    part: Part,
    /// Away while it is in use.
    ring: Cell<Option<ReadbackRing>>,
}

impl Reader<'_> {
    /// Whether there is an entry of this name.
    pub fn has(&self, name: &str) -> bool {
        self.parameters.entries.iter().any(|entry| entry.name == name)
    }

    /// Rows of an entry, of at most [`row_pieces`] at once.
    pub async fn rows(&self, name: &str, rows: Range<usize>) -> Result<Vec<f32>> {
        let Some(entry) = self.parameters.entries.iter().find(|entry| entry.name == name) else {
            bail!(Internal, "nothing that learns has the name {name}");
        };
        self.rows_of(entry, rows).await
    }

    async fn rows_of(&self, entry: &Entry, rows: Range<usize>) -> Result<Vec<f32>> {
        let mut values = Vec::new();
        for place in &entry.places {
            let own = rows.start.max(place.rows.start)..rows.end.min(place.rows.end);
            if !own.is_empty() {
                values.extend(self.rows_at(entry, place, own).await?);
            }
        }
        if self.part == Part::Values && entry.offset != 0.0 {
            values.iter_mut().for_each(|value| *value -= entry.offset);
        }
        Ok(values)
    }

    async fn rows_at(&self, entry: &Entry, place: &EntryPlace, rows: Range<usize>) -> Result<Vec<f32>> {
        let [_, cols] = entry.size();
        let tensor = match self.part {
            Part::Values => self.parameters.segments[place.segment].param,
            Part::Gradient => match self.parameters.gradients.get(place.segment) {
                Some(gradient) => *gradient,
                None => bail!(BadState, "this run computes no gradients"),
            },
        };
        let first = place.first + (rows.start - place.rows.start) * place.stride;
        let Some(mut ring) = self.ring.take() else { bail!(Internal, "two reads at once") };
        let readback =
            ring.start_part(self.store, tensor, 4 * first as u64, 4 * (rows.len() * place.stride) as u64);
        let values: Result<Vec<f32>> = ring.finish(readback).await;
        self.ring.set(Some(ring));
        let values = values?;
        if cols == place.stride {
            return Ok(values);
        }
        Ok(values.chunks(place.stride).flat_map(|row| &row[..cols]).copied().collect())
    }

    /// Every entry whole, by name.
    pub async fn all(&self) -> Result<Vec<(String, Vec<f32>)>> {
        let mut all = Vec::new();
        for entry in &self.parameters.entries {
            let [rows, cols] = entry.size();
            let mut values = Vec::new();
            for piece in row_pieces(rows, cols) {
                values.extend(self.rows_of(entry, piece).await?);
            }
            all.push((entry.name.clone(), values));
        }
        Ok(all)
    }
}
