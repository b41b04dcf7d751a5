//! What a run trains: values by name, flat in few buffers, with a gradient for each.

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
    /// Of each value, in the same places.
    pub grad: Tensor,
}

/// A matrix or a vector among the values of a segment.
#[derive(Clone, Debug)]
pub struct Entry {
    /// As the files have it that people get, e.g. `model.layers.0.self_attn.q_proj.lora_A.weight`.
    pub name: String,
    /// Without padding: rows and columns, or the length of a vector.
    pub shape: Vec<usize>,
    pub place: EntryPlace,
}

/// Where an entry lies.
#[derive(Clone, Copy, Debug)]
pub struct EntryPlace {
    pub segment: usize,
    /// Its first value in the segment.
    pub first: usize,
    /// Values from row to row.
    pub stride: usize,
}

impl Entry {
    /// Rows and columns; a vector is one row.
    pub fn size(&self) -> [usize; 2] {
        match self.shape[..] {
            [rows, cols] => [rows, cols],
            _ => [1, self.shape.iter().product()],
        }
    }
}

/// All that a run trains.
#[derive(Default)]
pub struct Parameters {
    segments: Vec<Segment>,
    entries: Vec<Entry>,
}

impl Parameters {
    /// Lets the `len` values of `param` learn: keeps their gradient in `store`. Returns the number of the segment.
    pub(super) fn add(
        &mut self,
        store: &mut Store,
        name: String,
        param: Tensor,
        len: usize,
    ) -> Result<usize> {
        let grad = store.keep(Class::Optimizer, &format!("gradient of {name}"), len)?;
        self.segments.push(Segment { name, len, param, grad });
        Ok(self.segments.len() - 1)
    }

    pub(super) fn add_entry(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// In the model's order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Where the gradient of a kept tensor, or of a part of one, is added up; `None` for what does not learn.
    pub(super) fn gradient(&self, param: Tensor) -> Option<Tensor> {
        let has = |segment: &&Segment| {
            let Tensor { place, offset, size } = segment.param;
            place == param.place && offset <= param.offset && param.offset + param.size <= offset + size
        };
        let segment = self.segments.iter().find(has)?;
        Some(segment.grad.slice(param.offset - segment.param.offset, param.size))
    }

    /// Reads values of entries.
    pub fn reader<'a>(&'a self, device: &Device, store: &'a Store, part: Part) -> Reader<'a> {
        let largest = self.segments.iter().map(|segment| segment.param.size()).max().unwrap_or(0);
        let ring = ReadbackRing::new(device, largest.min(PIECE_BYTES as u64), 1);
        Reader { parameters: self, store, part, ring }
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
    ring: ReadbackRing,
}

impl Reader<'_> {
    /// Rows of an entry, of at most [`row_pieces`] at once.
    pub async fn rows(&mut self, name: &str, rows: Range<usize>) -> Result<Vec<f32>> {
        let Some(entry) = self.parameters.entries.iter().find(|entry| entry.name == name) else {
            bail!(Internal, "nothing that learns has the name {name}");
        };
        self.rows_of(entry, rows).await
    }

    async fn rows_of(&mut self, entry: &Entry, rows: Range<usize>) -> Result<Vec<f32>> {
        let EntryPlace { segment, first, stride } = entry.place;
        let [_, cols] = entry.size();
        let Segment { param, grad, .. } = self.parameters.segments[segment];
        let tensor = match self.part {
            Part::Values => param,
            Part::Gradient => grad,
        };
        let (at, bytes) = (4 * (first + rows.start * stride) as u64, 4 * (rows.len() * stride) as u64);
        let readback = self.ring.start_part(self.store, tensor, at, bytes);
        let values: Vec<f32> = self.ring.finish(readback).await?;
        if cols == stride {
            return Ok(values);
        }
        Ok(values.chunks(stride).flat_map(|row| &row[..cols]).copied().collect())
    }

    /// Every entry whole, by name.
    pub async fn all(&mut self) -> Result<Vec<(String, Vec<f32>)>> {
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
