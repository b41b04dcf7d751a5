//! What a run trains: values by name, flat in few buffers, with a gradient for each.

use std::cell::Cell;
use std::ops::Range;

use crate::adapter::row_pieces;
use crate::bail;
use crate::device::{Device, ReadbackRing, Store};
use crate::error::Result;
use crate::files::PIECE_BYTES;
use crate::format::WeightFormat;
use crate::kernels::{Recorder, rounding};
use crate::memory::{Class, Tensor};

/// A flat run of values that one binding holds.
#[derive(Clone, Debug)]
pub struct Segment {
    /// What it is saved as, e.g. `lora.0`.
    pub name: String,
    /// Values, a multiple of 4.
    pub len: usize,
    /// What an optimiser updates and a checkpoint keeps.
    pub param: Tensor,
    /// Whether weight decay shrinks the values.
    pub decays: bool,
    /// What passes read, where `param` is only the master of it.
    pub rounded: Option<Rounded>,
}

/// The values of a segment in 16 bits, in the same order.
#[derive(Clone, Copy, Debug)]
pub struct Rounded {
    /// F16 or BF16.
    pub format: WeightFormat,
    pub values: Tensor,
}

impl Segment {
    /// Records the rounding of its values to those that passes read; nothing where these are the same.
    pub fn record_rounding(&self, rec: &mut Recorder) {
        if let Some(Rounded { format, values }) = self.rounded {
            rounding::round(rec, rounding::Params { n: self.len as u32 }, format, self.param, values);
        }
    }

    /// Where the values of `tensor` lie among its own, whether that has these or what they are rounded to: the first byte and
    /// how many, as f32. `None` where it has none of them.
    fn part(&self, tensor: Tensor) -> Option<[u64; 2]> {
        let within = |Tensor { place, offset, size }: Tensor| {
            let has = place == tensor.place
                && offset <= tensor.offset
                && tensor.offset + tensor.size <= offset + size;
            has.then(|| [tensor.offset - offset, tensor.size])
        };
        let of_rounded = || self.rounded.and_then(|rounded| within(rounded.values));
        within(self.param).or_else(|| of_rounded().map(|part| part.map(|bytes| 2 * bytes)))
    }
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
    frozen: Frozen,
}

/// What belongs to what learns and stays as it is.
#[derive(Default)]
struct Frozen {
    segments: Vec<Segment>,
    entries: Vec<Entry>,
}

impl Parameters {
    /// Lets the values of `param` learn, as the next segment. Passes read them as they are, unless they are `rounded`.
    pub(super) fn add(&mut self, name: String, param: Tensor, decays: bool, rounded: Option<Rounded>) {
        let len = (param.size() / 4) as usize;
        self.segments.push(Segment { name, len, param, decays, rounded });
    }

    pub(super) fn add_entry(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// Takes up the values of `param` as the next segment of those that do not learn.
    pub(super) fn add_frozen(&mut self, name: String, param: Tensor) {
        let len = (param.size() / 4) as usize;
        self.frozen.segments.push(Segment { name, len, param, decays: false, rounded: None });
    }

    pub(super) fn add_frozen_entry(&mut self, entry: Entry) {
        self.frozen.entries.push(entry);
    }

    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Those that do not learn.
    pub fn frozen_segments(&self) -> &[Segment] {
        &self.frozen.segments
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

    /// Those that do not learn.
    pub fn frozen_entries(&self) -> &[Entry] {
        &self.frozen.entries
    }

    /// An entry of either kind by its name, and the segments that its places count.
    fn find(&self, name: &str) -> Result<(&Entry, &[Segment])> {
        let kinds = [(&self.entries, &self.segments), (&self.frozen.entries, &self.frozen.segments)];
        for (entries, segments) in kinds {
            if let Some(entry) = entries.iter().find(|entry| entry.name == name) {
                return Ok((entry, segments));
            }
        }
        bail!(BadOption, "nothing that the run trains has the name {name:?}");
    }

    /// Gives an entry, learning or frozen, other values: all of them, row by row. What passes read where these are masters is
    /// to be rounded anew.
    ///
    /// # Errors
    ///
    /// Code `bad-option` for a name that there is not, or another number of values than the entry has.
    pub fn write(&self, store: &Store, name: &str, values: &[f32]) -> Result<()> {
        let (entry, segments) = self.find(name)?;
        let [count, cols] = entry.size();
        if values.len() != count * cols {
            bail!(BadOption, "{name} has {} values, not {}", count * cols, values.len());
        }
        let rows = &mut |own: Range<usize>| values[own.start * cols..own.end * cols].to_vec();
        write_rows(store, entry, |segment| segments[segment].param, rows);
        Ok(())
    }

    /// Where the gradient of a kept tensor, or of a part of one, is added up; `None` for what does not learn or needs
    /// none.
    pub(super) fn gradient(&self, param: Tensor) -> Option<Tensor> {
        self.beside(param, &self.gradients)
    }

    /// The part of `tensors`, one for each segment, that lies as `param` does in its own; `None` for what does not learn.
    pub(super) fn beside(&self, param: Tensor, tensors: &[Tensor]) -> Option<Tensor> {
        self.segments.iter().zip(tensors).find_map(|(segment, tensor)| {
            let [offset, size] = segment.part(param)?;
            Some(tensor.slice(offset, size))
        })
    }

    /// Reads values of entries.
    pub fn reader<'a>(&'a self, device: &Device, store: &'a Store, part: Part) -> Reader<'a> {
        let segments = self.segments.iter().chain(&self.frozen.segments);
        let largest = segments.map(|segment| segment.param.size()).max().unwrap_or(0);
        let ring = ReadbackRing::new(device, largest.min(PIECE_BYTES as u64), 1);
        Reader { parameters: self, store, part, ring: Cell::new(Some(ring)) }
    }
}

/// Writes an entry, whose segments `tensor` knows, as `rows` gives its rows.
pub(super) fn write_rows(
    store: &Store,
    entry: &Entry,
    tensor: impl Fn(usize) -> Tensor,
    rows: &mut dyn FnMut(Range<usize>) -> Vec<f32>,
) {
    let [_, cols] = entry.size();
    for EntryPlace { rows: own, segment, first, stride } in &entry.places {
        for piece in row_pieces(own.len(), cols) {
            let at = 4 * (first + piece.start * stride) as u64;
            let mut values = rows(own.start + piece.start..own.start + piece.end);
            values.iter_mut().for_each(|value| *value += entry.offset);
            store.write_at(tensor(*segment), at, &padded(values, cols, *stride));
        }
    }
}

/// Rows of `cols` values with zeros behind each up to `stride`.
pub(super) fn padded(values: Vec<f32>, cols: usize, stride: usize) -> Vec<f32> {
    if cols == stride {
        return values;
    }
    let mut padded = vec![0.0; values.len() / cols * stride];
    for (to, from) in padded.chunks_mut(stride).zip(values.chunks(cols)) {
        to[..cols].copy_from_slice(from);
    }
    padded
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
        self.parameters.find(name).is_ok()
    }

    /// Rows of an entry, of at most [`row_pieces`] at once.
    pub async fn rows(&self, name: &str, rows: Range<usize>) -> Result<Vec<f32>> {
        let (entry, segments) = self.parameters.find(name)?;
        let mut values = Vec::new();
        for place in &entry.places {
            let own = rows.start.max(place.rows.start)..rows.end.min(place.rows.end);
            if !own.is_empty() {
                let tensor = self.tensor(segments[place.segment].param)?;
                values.extend(self.rows_at(entry, (tensor, place), own).await?);
            }
        }
        if self.part == Part::Values && entry.offset != 0.0 {
            values.iter_mut().for_each(|value| *value -= entry.offset);
        }
        Ok(values)
    }

    /// What is read of a segment.
    fn tensor(&self, param: Tensor) -> Result<Tensor> {
        match (self.part, self.parameters.gradient(param)) {
            (Part::Values, _) => Ok(param),
            (Part::Gradient, Some(gradient)) => Ok(gradient),
            (Part::Gradient, None) => bail!(BadState, "this run computes no such gradient"),
        }
    }

    async fn rows_at(
        &self,
        entry: &Entry,
        (tensor, place): (Tensor, &EntryPlace),
        rows: Range<usize>,
    ) -> Result<Vec<f32>> {
        let [_, cols] = entry.size();
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

    /// All rows of an entry.
    pub async fn whole(&self, name: &str) -> Result<Vec<f32>> {
        let [rows, cols] = self.parameters.find(name)?.0.size();
        let mut values = Vec::new();
        for piece in row_pieces(rows, cols) {
            values.extend(self.rows(name, piece).await?);
        }
        Ok(values)
    }

    /// Every entry that learns whole, by name.
    pub async fn all(&self) -> Result<Vec<(String, Vec<f32>)>> {
        let mut all = Vec::new();
        for entry in &self.parameters.entries {
            all.push((entry.name.clone(), self.whole(&entry.name).await?));
        }
        Ok(all)
    }
}
