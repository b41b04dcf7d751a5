//! Runs the decoder token by token, with keys and values kept in a cache.

use crate::error::Result;
use crate::gpu::{Class, Gpu, ProgramId, ReadbackRing, Recorder, Store, Tensor, Workspace};
use crate::kernels::{attention, kv_append};
use crate::model::tiles::Tiles;
use crate::model::{Decoder, Keys, Lora, Model, Rows, embedding, head};

/// Prompt tokens that one pass takes.
const CHUNK: usize = 64;

/// Why generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stop {
    /// The model ended its turn.
    Eos,
    /// `max_new_tokens` or the model's context were reached.
    Length,
    Cancelled,
}

/// A decoder recorded for prompts and for single tokens.
pub struct Generator {
    prompt: Pass,
    token: Pass,
    /// Positions the cache holds.
    capacity: usize,
    /// A token sees so many positions up to its own, where the model says so.
    window: Option<u32>,
    vocab: usize,
    logits: Tensor,
    logits_row: Tensor,
    ring: ReadbackRing,
}

struct Pass {
    workspace: Workspace,
    program: ProgramId,
    rows: Rows,
}

impl Generator {
    /// Allocates a cache of `capacity` positions and records both passes, with and without `lora`, which is work for
    /// [`Gpu::allocating`].
    pub fn new(
        gpu: &Gpu,
        store: &mut Store,
        model: &Model,
        lora: Option<&Lora>,
        tiles: &Tiles,
        capacity: usize,
    ) -> Result<Self> {
        let cache = (0..model.layers.len())
            .map(|_| store.keep(Class::Other, "kv cache", capacity * 2 * model.sizes.keys))
            .collect::<Result<Vec<_>>>()?;
        let table = capacity * model.config.head_dim / 2;
        let (cos, sin) =
            (store.keep(Class::Other, "rope cos", table)?, store.keep(Class::Other, "rope sin", table)?);
        let values = model.config.rope_table(capacity);
        store.write(cos, &values.0);
        store.write(sin, &values.1);
        let logits = store.keep(Class::Other, "logits", model.sizes.vocab)?;
        let logits_row = store.keep(Class::Other, "logits row", 1)?;

        let mut passes = Vec::new();
        for count in [CHUNK, 1] {
            let mut keep = |elements: usize| store.keep(Class::Other, "generation", elements);
            let rows = Rows {
                count,
                ids: keep(count)?,
                positions: keep(count)?,
                spans: keep(2 * count)?,
                last: logits_row,
                cos,
                sin,
            };
            let tiles = tiles.for_rows(count);
            // The second recording has the adapter switched off.
            let scales = [lora.map_or(0.0, |lora| lora.config.scale()), 0.0];
            let recorded = scales.map(|lora_scale| {
                let decoder = Decoder { model, lora, tiles: &tiles, rows, lora_scale, dropout: None };
                record(&decoder, &cache, logits_row, logits)
            });
            let program = recorded[0].1;
            let recorders = recorded.map(|(recorder, _)| recorder);
            passes.push(Pass { workspace: Workspace::new(gpu, store, &recorders)?, program, rows });
        }
        let token = passes.pop().expect("two passes were made");
        let prompt = passes.pop().expect("two passes were made");
        let ring = ReadbackRing::new(gpu, logits.size(), 1);
        let window = model.config.sliding_window.map(|window| window.try_into().unwrap_or(u32::MAX));
        Ok(Generator {
            prompt,
            token,
            capacity,
            window,
            vocab: model.config.vocab_size,
            logits,
            logits_row,
            ring,
        })
    }

    /// Positions the cache holds.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Runs `ids` at positions `first..`, and returns the logits [V] after the last of them.
    ///
    /// What the cache holds before `first` is what these tokens see.
    pub async fn run(&mut self, store: &Store, ids: &[u32], first: usize, adapter: bool) -> Result<Vec<f32>> {
        assert!(first + ids.len() <= self.capacity, "the cache holds {} positions", self.capacity);
        let recording = usize::from(!adapter);
        let chunk = if ids.len() == 1 { 1 } else { CHUNK };
        for (number, ids) in ids.chunks(chunk).enumerate() {
            let pass = if chunk == 1 { &self.token } else { &self.prompt };
            let first = (first + number * chunk) as u32;
            let end = first + ids.len() as u32;
            let pad = chunk - ids.len();
            let padded = |values: Vec<u32>, with: u32| -> Vec<u32> {
                values.into_iter().chain(std::iter::repeat_n(with, pad)).collect()
            };
            let start = |end: u32| self.window.map_or(0, |window| end.saturating_sub(window));
            let spans: Vec<[u32; 2]> =
                (first..end).map(|position| [start(position + 1), position + 1]).collect();
            let seen = attention::share_seen(&spans, (chunk * self.capacity) as u64);
            store.write(pass.rows.ids, &padded(ids.to_vec(), 0));
            store.write(pass.rows.positions, &padded((first..end).collect(), kv_append::SKIP));
            store.write(pass.rows.spans, &padded(padded(spans.into_flattened(), 0), 0));
            store.write(self.logits_row, &[ids.len() as u32 - 1]);
            pass.workspace.run_seeing(&[pass.program], recording, seen);
        }
        let readback = self.ring.start(store, self.logits);
        let mut logits: Vec<f32> = self.ring.finish(readback).await?;
        logits.truncate(self.vocab);
        Ok(logits)
    }

    /// Seconds and floating-point operations of each dispatch of one token, by shader, on whatever the
    /// inputs of the last one hold.
    pub async fn profile(&self) -> Vec<(&str, f64, u64)> {
        self.token.workspace.profile(&[self.token.program], 0).await
    }
}

/// Records a pass: its tokens' keys and values go to the cache, the logits of one row to `logits`.
fn record(decoder: &Decoder, cache: &[Tensor], logits_row: Tensor, logits: Tensor) -> (Recorder, ProgramId) {
    let mut rec = decoder.tiles.default.recorder();
    let program = rec.program();
    let mut x = embedding::embed(&mut rec, decoder.model, decoder.rows.ids, decoder.rows.count);
    for (layer, &cache) in cache.iter().enumerate() {
        x = decoder.layer_forward(&mut rec, layer, x, Keys::Cached(cache)).1;
    }
    let normed = head::final_norm(&mut rec, decoder.model, x, logits_row, 0, 1).normed;
    head::logits(&mut rec, decoder.model, decoder.tiles, normed, 1, logits);
    (rec, program)
}
