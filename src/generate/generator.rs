//! Runs the decoder token by token, with keys and values kept in a cache.

use crate::device::{Device, ReadbackRing, Store, Workspace};
use crate::error::Result;
use crate::kernels::lower::{Target, lower};
use crate::kernels::{Recorder, attention, kv_append};
use crate::memory::{Class, ProgramId, Tensor};
use crate::model::{Keys, Lora, Model, Pass, Rope, RopeTables, Rows, RowsSeen, View, embedding, head};

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
    prompt: Recorded,
    token: Recorded,
    /// Positions the cache holds.
    capacity: usize,
    views: Vec<View>,
    ropes: Vec<(Rope, RopeTables)>,
    /// What the cache holds keys and values of.
    ids: Vec<u32>,
    vocab: usize,
    logits: Tensor,
    logits_row: Tensor,
    ring: ReadbackRing,
}

/// A pass of the decoder over some tokens.
struct Recorded {
    workspace: Workspace,
    /// What does not depend on the tokens: it is run before the first of them.
    begin: Option<ProgramId>,
    program: ProgramId,
    rows: Rows,
}

impl Generator {
    /// Allocates a cache of `capacity` positions and records both passes, with and without `lora`, which is work for
    /// [`Device::allocating`].
    pub fn new(
        device: &Device,
        store: &mut Store,
        model: &Model,
        lora: Option<&Lora>,
        target: &Target,
        capacity: usize,
    ) -> Result<Self> {
        let architecture = &model.architecture;
        let mut cache = Vec::new();
        for layer in &architecture.layers {
            cache.push(store.keep(Class::Other, "kv cache", capacity * 2 * layer.attention.keys().real)?);
        }
        let mut tables = Vec::new();
        for rope in &architecture.ropes {
            let table = capacity * rope.rotary_dim / 2;
            let (cos, sin) =
                (store.keep(Class::Other, "rope cos", table)?, store.keep(Class::Other, "rope sin", table)?);
            tables.push(RopeTables { cos, sin });
        }
        let logits = store.keep(Class::Other, "logits", architecture.vocab.padded)?;
        let logits_row = store.keep(Class::Other, "logits row", 1)?;

        let mut passes = Vec::new();
        for count in [CHUNK, 1] {
            let mut keep = |elements: usize| store.keep(Class::Other, "generation", elements);
            let (ids, positions) = (keep(count)?, keep(count)?);
            let mut views = Vec::new();
            for _ in &architecture.views {
                // Only backward reads `last`.
                views.push(RowsSeen { spans: keep(2 * count)?, last: logits_row });
            }
            let rows = Rows { count, ids, positions, views, ropes: tables.clone() };
            // The second recording has the adapter switched off.
            let recorded = [1.0, 0.0].map(|lora_scale| {
                let pass = Pass { model, lora, parameters: None, rows: &rows, lora_scale, dropout: None };
                record(&pass, &cache, logits_row, logits)
            });
            let (begin, program) = recorded[0].1;
            let lowered = lower(&recorded.map(|(recording, _)| recording), target)?;
            passes.push(Recorded {
                workspace: Workspace::new(device, store, &lowered)?,
                begin,
                program,
                rows,
            });
        }
        let token = passes.pop().expect("two passes were made");
        let prompt = passes.pop().expect("two passes were made");
        let ring = ReadbackRing::new(device, logits.size(), 1);
        let ropes: Vec<_> = architecture.ropes.iter().cloned().zip(tables).collect();
        Ok(Generator {
            prompt,
            token,
            capacity,
            views: architecture.views.clone(),
            ropes,
            ids: Vec::new(),
            vocab: architecture.vocab.real,
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
        let before = self.ids.len();
        self.ids.truncate(first);
        self.ids.extend_from_slice(ids);
        let longest = self.ids.len();
        let is_stretched = |(rope, _): &(Rope, RopeTables), longest| rope.is_stretched(longest);
        let again = self.ropes.iter().any(|rope| is_stretched(rope, before) != is_stretched(rope, longest));
        if again || first == 0 {
            write_tables(store, &self.ropes, self.capacity, longest);
        }
        // Keys that were turned by other angles are of no use.
        let (first, ids) = if again { (0, self.ids.clone()) } else { (first, ids.to_vec()) };
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
            let mut seen = 0.0f64;
            for (view, rows) in self.views.iter().zip(&pass.rows.views) {
                let spans: Vec<[u32; 2]> = (first..end).map(|row| [view.start(row + 1), row + 1]).collect();
                seen = seen.max(attention::share_seen(&spans, (chunk * self.capacity) as u64));
                store.write(rows.spans, &padded(padded(spans.into_flattened(), 0), 0));
            }
            store.write(pass.rows.ids, &padded(ids.to_vec(), 0));
            store.write(pass.rows.positions, &padded((first..end).collect(), kv_append::SKIP));
            store.write(self.logits_row, &[ids.len() as u32 - 1]);
            let begin = pass.begin.filter(|_| first == 0);
            let programs: Vec<ProgramId> = begin.into_iter().chain([pass.program]).collect();
            pass.workspace.run_seeing(&programs, recording, seen);
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

/// Writes the angles of all positions, for a text of `length` tokens that grows.
fn write_tables(store: &Store, ropes: &[(Rope, RopeTables)], positions: usize, length: usize) {
    for (rope, tables) in ropes {
        let (cos, sin) = rope.growing_table(positions, length);
        store.write(tables.cos, &cos);
        store.write(tables.sin, &sin);
    }
}

/// Records what a pass begins with, where there is such a thing, and the pass: its tokens' keys and values go to the
/// cache, the logits of one row to `logits`.
fn record(
    pass: &Pass,
    cache: &[Tensor],
    logits_row: Tensor,
    logits: Tensor,
) -> (Recorder, (Option<ProgramId>, ProgramId)) {
    let mut rec = Recorder::new();
    let begin = pass.has_beginning().then(|| {
        let begin = rec.program();
        pass.begin(&mut rec);
        begin
    });
    let program = rec.program();
    let mut x = embedding::embed(&mut rec, pass.model, pass.rows.ids, pass.rows.count);
    for (layer, &cache) in cache.iter().enumerate() {
        x = pass.layer_forward(&mut rec, layer, x, Keys::Cached(cache)).1;
    }
    let normed = head::final_norm(&mut rec, pass.model, x, logits_row, 0, 1).normed;
    head::logits(&mut rec, pass.model, normed, 1, logits);
    (rec, (begin, program))
}
