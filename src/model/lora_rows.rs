//! An adapter's factors between GPU and host, some rows at a time, so that no factor is whole on the host.

use std::ops::Range;

use super::lora::{Lora, LoraFactor, Segment};
use crate::adapter::{FirstRows, LoraModule, Side, row_pieces};
use crate::bail;
use crate::device::{Device, ReadbackRing, Store};
use crate::error::Result;
use crate::files::PIECE_BYTES;
use crate::memory::Tensor;

impl Lora {
    /// Writes the factors of every module as `rows` gives them: module by module, all rows of A before those
    /// of B. A store that only plans asks for none.
    pub fn write(&self, store: &Store, rows: &mut FirstRows<'_>) {
        if store.is_planned() {
            return;
        }
        for factor in self.factors() {
            for side in Side::BOTH {
                let [count, cols] = factor.module.shape(side, self.config.r);
                let (first, stride) = self.place(factor, side);
                for piece in row_pieces(count, cols) {
                    let at = 4 * (first + piece.start * stride) as u64;
                    let values = padded(rows(&factor.module, side, piece), cols, stride);
                    store.write_at(self.segments[factor.segment].param, at, &values);
                }
            }
        }
    }
}

/// Rows of `cols` values with zeros behind each up to `stride`.
fn padded(values: Vec<f32>, cols: usize, stride: usize) -> Vec<f32> {
    if cols == stride {
        return values;
    }
    let mut padded = vec![0.0; values.len() / cols * stride];
    for (to, from) in padded.chunks_mut(stride).zip(values.chunks(cols)) {
        to[..cols].copy_from_slice(from);
    }
    padded
}

/// Reads rows of factors, or of what is kept beside them.
pub struct FactorReader<'a> {
    lora: &'a Lora,
    store: &'a Store,
    part: fn(&Segment) -> Tensor,
    ring: ReadbackRing,
}

impl<'a> FactorReader<'a> {
    /// A reader of `part` of each segment, e.g. of its parameters.
    pub fn new(lora: &'a Lora, device: &Device, store: &'a Store, part: fn(&Segment) -> Tensor) -> Self {
        let largest = lora.segments.iter().map(|segment| part(segment).size()).max().unwrap_or(0);
        FactorReader {
            lora,
            store,
            part,
            ring: ReadbackRing::new(device, largest.min(PIECE_BYTES as u64), 1),
        }
    }

    /// Rows of one of a module's matrices, of at most [`row_pieces`] at once.
    pub async fn rows(&mut self, module: &LoraModule, side: Side, rows: Range<usize>) -> Result<Vec<f32>> {
        let is_its = |factor: &&LoraFactor| factor.module == *module;
        let Some(factor) = self.lora.factors().iter().find(is_its) else {
            bail!(Internal, "{} has no adapter", module.path);
        };
        let [_, cols] = module.shape(side, self.lora.config.r);
        let (first, stride) = self.lora.place(factor, side);
        let tensor = (self.part)(&self.lora.segments[factor.segment]);
        let (at, bytes) = (4 * (first + rows.start * stride) as u64, 4 * (rows.len() * stride) as u64);
        let readback = self.ring.start_part(self.store, tensor, at, bytes);
        let values: Vec<f32> = self.ring.finish(readback).await?;
        if cols == stride {
            return Ok(values);
        }
        Ok(values.chunks(stride).flat_map(|row| &row[..cols]).copied().collect())
    }
}
