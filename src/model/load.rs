//! Streams a checkpoint onto the GPU, quantising on the way. No whole float model ever exists.

use std::ops::Range;

use serde::Serialize;

use super::architecture::{Architecture, Attention, ByGroup, Group, Module, Norms, Width, pad8};
use super::names::{self, EMBEDDING, FINAL_NORM, HEAD, LAYERS};
use super::place::Placing;
use super::skip::SkipModules;
use super::weights::{Bias, LayerWeights, Model, NormWeights, Slab, Stacked};
use crate::device::Store;
use crate::error::{Context, Result};
use crate::files::Files;
use crate::format::{
    Checkpoint, Encoding, NF4_BLOCK, TensorInfo, TensorSums, WeightFormat, nested_words, read_rows,
    read_small,
};
use crate::kernels::head_norm;
use crate::kernels::linear::{Role, Tile, Weight};
use crate::memory::{Class, Tensor};

/// Blocks of a row below which one kernel more costs more than scales of 8 bits save.
const FEWEST_NESTED: usize = 6;

/// `config.json` is small; what is larger is something else.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// How far loading is, in bytes of the checkpoint.
#[derive(Clone, Debug, Serialize)]
pub struct LoadProgress {
    pub loaded: u64,
    pub total: u64,
    /// The tensor that was just placed.
    pub name: String,
    pub file: String,
}

/// What loading is asked for. What a checkpoint quantised already stays as it is, unless `requantizes` says otherwise.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// To NF4.
    pub load_in_4bit: bool,
    /// To LLM.int8.
    pub load_in_8bit: bool,
    /// The scales of NF4 too.
    pub double_quant: bool,
    /// To NF4, of a GGUF or of a checkpoint that bitsandbytes quantised.
    pub requantizes: bool,
    /// What stays as the files have it.
    pub skip_modules: SkipModules,
}

impl LoadOptions {
    /// How a linear layer of the decoder is held, by its path.
    fn form_of(&self, path: &str, info: &TensorInfo, is_gguf: bool) -> Form {
        let format = self.format_of(path, info, is_gguf);
        let has_nested = match &info.encoding {
            Encoding::Bits4(bits) if info.encoding.format(info.row_elements()) == Some(format) => {
                bits.nested.is_some()
            }
            _ => self.double_quant,
        };
        let blocks = info.row_elements() / NF4_BLOCK;
        let is_worth_it = blocks >= FEWEST_NESTED;
        Form { format, is_nested: format == WeightFormat::Nf4 && has_nested && is_worth_it }
    }

    /// The format of a linear layer of the decoder by its path.
    fn format_of(&self, path: &str, info: &TensorInfo, is_gguf: bool) -> WeightFormat {
        if self.skip_modules.has(path) {
            return own_format(info);
        }
        let depth = info.row_elements();
        let is_kept = is_gguf || info.dtype().is_none();
        let nf4 = if depth.is_multiple_of(NF4_BLOCK) { WeightFormat::Nf4 } else { WeightFormat::Nf4Any };
        match (is_kept, self) {
            (true, LoadOptions { requantizes: true, .. }) => nf4,
            (false, LoadOptions { load_in_4bit: true, .. }) => nf4,
            (false, LoadOptions { load_in_8bit: true, .. }) => WeightFormat::Int8,
            _ => own_format(info),
        }
    }
}

/// How a linear layer is held: its format, and whether the scales are in 8 bits.
#[derive(Clone, Copy, PartialEq)]
struct Form {
    format: WeightFormat,
    is_nested: bool,
}

/// The format with the values of a tensor that a checkpoint was asked for.
fn own_format(info: &TensorInfo) -> WeightFormat {
    info.encoding
        .format(info.row_elements())
        .expect("a checkpoint gives floats alone when it is asked for a tensor")
}

/// The format of an embedding or a head. What bitsandbytes quantised of these is decoded, since no kernel looks up rows of
/// it.
fn table_format(info: &TensorInfo) -> WeightFormat {
    match info.encoding {
        Encoding::Bits4(_) | Encoding::Int8(_) => WeightFormat::F32,
        Encoding::Plain(_) | Encoding::Ggml(_) => own_format(info),
    }
}

impl Model {
    /// Reads and checks `config.json` alone, before anything larger is fetched.
    pub async fn architecture(files: &dyn Files) -> Result<Architecture> {
        match read_small(files, "config.json", MAX_CONFIG_BYTES).await? {
            Some(json) => Architecture::from_json(&json),
            None => {
                let place = files.place().map_or(String::new(), |place| format!(" in {place}"));
                crate::bail!(BadModel, "config.json is missing{place}")
            }
        }
    }

    /// Places every weight of the model in `store`. For a store that only counts, no weight is read. The model's
    /// architecture may differ from `architecture` in whether embedding and head are tied: that is as the files have it.
    ///
    /// # Errors
    ///
    /// Code `bad-model`, naming file and tensor, when the checkpoint does not hold exactly finite
    /// weights of the shapes that `architecture` calls for; `out-of-memory` when a tensor does not fit.
    pub async fn load(
        files: &dyn Files,
        mut architecture: Architecture,
        options: LoadOptions,
        store: &mut Store,
        on_progress: &mut dyn FnMut(LoadProgress),
    ) -> Result<Model> {
        let mut checkpoint = Checkpoint::open(files).await?;
        names::settle(files, &mut checkpoint, &mut architecture, store.is_planned()).await?;
        let mut total = 0;
        let mut tensors = Vec::new();
        for (name, shape) in architecture.checkpoint_tensors() {
            let tensor = checkpoint.require(&name, &shape)?;
            total += tensor.len;
            tensors.push((name, tensor.clone()));
            tensors.extend(tensor.parts()[1..].iter().map(|&part| (part.name.clone(), part.clone())));
        }
        let is_gguf = files.gguf().is_some();
        let files = TensorSums::new(files, tensors);
        let mut loader = Loader {
            files: &files,
            checkpoint,
            options,
            is_gguf,
            store,
            on_progress,
            loaded: 0,
            total,
            norm_offset: if architecture.norms_add_one { 1.0 } else { 0.0 },
        };
        let (hidden, table) = (architecture.hidden, [architecture.vocab.real, architecture.hidden.real]);
        let embedding = loader.rows(EMBEDDING, &table).await?;
        let mut layers = Vec::with_capacity(architecture.layers.len());
        for (number, layer) in architecture.layers.iter().enumerate() {
            let prefix = format!("{LAYERS}.{number}");
            let mut groups = ByGroup::<Vec<Stacked>>::default();
            for group in Group::ALL {
                groups[group] = loader.group(&prefix, &layer.groups[group]).await?;
            }
            for group in Group::ALL {
                for product in &mut groups[group] {
                    let values = loader.bias(&prefix, product, layer.scale(group)).await?;
                    let cols = product.cols();
                    product.biases.extend(values.map(|values| Bias { at: 0, cols, values }));
                }
            }
            let norms = loader.norms(&prefix, layer.norms, hidden).await?;
            let head_norm = loader.head_norm(&prefix, &layer.attention).await?;
            layers.push(LayerWeights { norms, head_norm, groups });
        }
        let norm = loader.norm(FINAL_NORM, hidden).await?;
        let head = if architecture.tied { embedding.clone() } else { loader.rows(HEAD, &table).await? };
        let sum = if store.is_planned() { 0 } else { files.sum().await? };
        Ok(Model { architecture, layers, embedding, head, norm, sum })
    }
}

struct Loader<'a> {
    files: &'a dyn Files,
    checkpoint: Checkpoint,
    options: LoadOptions,
    is_gguf: bool,
    store: &'a mut Store,
    on_progress: &'a mut dyn FnMut(LoadProgress),
    loaded: u64,
    total: u64,
    /// Added to the weights of norms.
    norm_offset: f32,
}

impl Loader<'_> {
    fn placed(&mut self, tensor: &TensorInfo) {
        self.loaded += tensor.len;
        (self.on_progress)(LoadProgress {
            loaded: self.loaded,
            total: self.total,
            name: tensor.name.clone(),
            file: tensor.file.clone(),
        });
    }

    async fn norms(&mut self, prefix: &str, norms: Norms, width: Width) -> Result<NormWeights> {
        let before_attention = self.norm_of(prefix, norms.before_attention, width).await?;
        let before_feed_forward = self.norm_of(prefix, norms.before_feed_forward, width).await?;
        let mut behind = [None; 2];
        for (weight, path) in behind.iter_mut().zip([norms.after_attention, norms.after_feed_forward]) {
            if let Some(path) = path {
                *weight = Some(self.norm_of(prefix, path, width).await?);
            }
        }
        let [after_attention, after_feed_forward] = behind;
        Ok(NormWeights { before_attention, after_attention, before_feed_forward, after_feed_forward })
    }

    async fn head_norm(&mut self, prefix: &str, attention: &Attention) -> Result<Option<head_norm::Weights>> {
        let Some([q, k]) = attention.head_norm else { return Ok(None) };
        let width = Width::new(attention.head_dim);
        Ok(Some(head_norm::Weights {
            q: self.norm_of(prefix, q, width).await?,
            k: self.norm_of(prefix, k, width).await?,
        }))
    }

    /// The biases of a product's rows, times `scale`.
    async fn bias(&mut self, prefix: &str, product: &Stacked, scale: f32) -> Result<Option<Tensor>> {
        if !product.parts().any(|part| part.module.has_bias) {
            return Ok(None);
        }
        let label = format!("{prefix}.{} bias", product.modules[0].path);
        let tensor = self.store.keep(Class::Weights, &label, product.cols())?;
        let mut biases = vec![0.0; product.cols()];
        for part in product.parts().filter(|part| part.module.has_bias) {
            let Module { path, outputs, .. } = part.module;
            let info = self.checkpoint.require(&format!("{prefix}.{path}.bias"), &[outputs.real])?.clone();
            if !self.store.is_planned() {
                let (rows, mut values) = (part.real_rows(), Vec::new());
                read_rows(self.files, &info, rows.start, rows.len(), &mut values).await?;
                let scaled = values.iter().map(|value| scale * value);
                biases.iter_mut().skip(part.at).zip(scaled).for_each(|(to, value)| *to = value);
            }
            if part.is_last() {
                self.placed(&info);
            }
        }
        if !self.store.is_planned() {
            self.store.write(tensor, &biases);
        }
        Ok(Some(tensor))
    }

    /// The weight of a layer's norm by its path within the layer.
    async fn norm_of(&mut self, prefix: &str, path: &str, width: Width) -> Result<Tensor> {
        self.norm(&format!("{prefix}.{path}.weight"), width).await
    }

    async fn norm(&mut self, name: &str, width: Width) -> Result<Tensor> {
        let info = self.checkpoint.require(name, &[width.real])?.clone();
        let tensor = self.store.keep(Class::Weights, name, width.padded)?;
        if !self.store.is_planned() {
            let mut values = Vec::new();
            read_rows(self.files, &info, 0, width.real, &mut values).await?;
            values.iter_mut().for_each(|value| *value += self.norm_offset);
            self.store.write(tensor, &values);
        }
        self.placed(&info);
        Ok(tensor)
    }

    /// The rows of an embedding or a head, in as few slabs as bindings allow.
    async fn rows(&mut self, name: &str, shape: &[usize; 2]) -> Result<Vec<Slab>> {
        const SLAB_BYTES: usize = 120 << 20;
        let info = self.checkpoint.require(name, shape)?.clone();
        let [rows, width] = *shape;
        let format = table_format(&info);
        let form = Form { format, is_nested: false };
        let most = SLAB_BYTES / (format.row_words(pad8(width)) * 4);
        let per_slab = (most.min(most_rows(format, pad8(width))) / 8 * 8).max(8);
        let mut slabs = Vec::new();
        for first_id in (0..rows).step_by(per_slab) {
            let n_ids = per_slab.min(rows - first_id);
            // The head's product wants whole blocks of 8 rows; those past the end are zero.
            let role = Role::Head { cols: pad8(n_ids) as u32 };
            let weight = self.weight_of(name, pad8(n_ids), Width::new(width), (form, role))?;
            self.placing().rows(&info, first_id..first_id + n_ids, weight, 0).await?;
            slabs.push(Slab { first_id, n_ids, weight });
        }
        self.placed(&info);
        Ok(slabs)
    }

    fn placing(&self) -> Placing<'_> {
        Placing { files: self.files, store: self.store, double_quant: self.options.double_quant }
    }

    /// The products of modules that share their input: one for each run of modules of one format that can be stacked, if
    /// a binding holds them all.
    async fn group(&mut self, prefix: &str, modules: &[Module]) -> Result<Vec<Stacked>> {
        let (mut infos, mut forms) = (Vec::new(), Vec::new());
        for module in modules {
            let path = format!("{prefix}.{}", module.path);
            let info = self.checkpoint.require(&format!("{path}.weight"), &module.shape())?.clone();
            forms.push(self.options.form_of(&path, &info, self.is_gguf));
            infos.push(info);
        }
        let numbered: Vec<(usize, Form)> = forms.iter().copied().enumerate().collect();
        let runs = numbered.chunk_by(|(_, one), (_, other)| one == other && !one.format.runs_on());
        let runs: Vec<&[Module]> = runs.map(|run| &modules[run[0].0..][..run.len()]).collect();
        let mut placed = infos.iter().zip(forms);
        let mut first_col = 0;
        let mut products = Vec::new();
        for modules in runs {
            let members: Vec<_> = placed.by_ref().take(modules.len()).collect();
            let form = members[0].1;
            let format = form.format;
            let begun = products.len();
            let inputs = modules[0].inputs;
            let row_bytes = 4 * format.row_words(inputs.padded) as u64;
            let most = (self.store.max_weight() / row_bytes).min(most_rows(format, inputs.padded) as u64);
            for rows in cut(modules, most) {
                let label = format!("{prefix}.{}", modules[0].path);
                let weight = self.weight_of(&label, rows.len(), inputs, (form, Role::Layer))?;
                let next_col = first_col + rows.len();
                let biases = Vec::new();
                products.push(Stacked { modules: modules.to_vec(), rows, first_col, weight, biases });
                first_col = next_col;
            }
            for (section, (info, _)) in members.into_iter().enumerate() {
                let parts = products[begun..].iter().flat_map(|product| {
                    let of_module = product.parts().filter(move |part| part.section == section);
                    of_module.map(|part| (part, product.weight))
                });
                let placing = self.placing().linear(info, parts.collect()).await;
                placing.context(format!("loading {}", info.name))?;
                self.placed(info);
            }
        }
        Ok(products)
    }

    /// Room for the weight of a product.
    fn weight_of(
        &mut self,
        label: &str,
        cols: usize,
        inputs: Width,
        (Form { format, is_nested }, role): (Form, Role),
    ) -> Result<Weight> {
        let values = self.store.keep(Class::Weights, label, cols * format.row_words(inputs.padded))?;
        let scale_words = match is_nested {
            true => nested_words(cols, inputs.real / NF4_BLOCK),
            false => format.scale_words(cols, inputs.real),
        };
        let scales = match scale_words {
            0 => values,
            words => self.store.keep(Class::Weights, label, words)?,
        };
        Ok(Weight { format, role, values, scales, is_nested })
    }
}

/// The most rows of `depth` values that a product may have: what not every tile reads may be decoded into scratch, which
/// may not be large.
fn most_rows(format: WeightFormat, depth: usize) -> usize {
    const SCRATCH_BYTES: usize = 64 << 20;
    if Tile::all_read(format) { usize::MAX } else { SCRATCH_BYTES / (4 * depth) }
}

/// Rows between places at which a module may be cut: so many begin with a block of NF4, whatever their length.
const CUT_ROWS: usize = NF4_BLOCK;

/// The rows of stacked modules in products of at most `most` rows: in one, or else a module each or a part of one. A
/// module is cut at multiples of [`CUT_ROWS`] alone, however few `most` are.
fn cut(modules: &[Module], most: u64) -> Vec<Range<usize>> {
    let total: usize = modules.iter().map(|module| module.outputs.padded).sum();
    if total as u64 <= most {
        return std::iter::once(0..total).collect();
    }
    let most = (most as usize / CUT_ROWS * CUT_ROWS).max(CUT_ROWS);
    let mut pieces = Vec::new();
    let mut begin = 0;
    for module in modules {
        let end = begin + module.outputs.padded;
        // In equal parts, so that the products take the same tile.
        let count = module.outputs.padded.div_ceil(most);
        let each = module.outputs.padded.div_ceil(count).next_multiple_of(CUT_ROWS);
        pieces.extend((begin..end).step_by(each).map(|first| first..end.min(first + each)));
        begin = end;
    }
    pieces
}
