//! Streams a checkpoint onto the GPU, quantising on the way. No whole float model ever exists.

use serde::Serialize;

use super::architecture::{Architecture, Attention, ByGroup, Group, Module, Norms, Width, pad8};
use super::loss::LossPlan;
use super::names::{self, EMBEDDING, FINAL_NORM, HEAD, LAYERS};
use super::tiles::{Product, Shape};
use crate::error::{Context, Result};
use crate::files::{Files, PIECE_BYTES};
use crate::format::{
    Checkpoint, Dtype, NF4_BLOCK, Nf4Quantizer, Nf4Tensor, TensorInfo, TensorSums, double_quantize,
    read_rows, read_rows_raw, read_small,
};
use crate::gpu::{Class, Store, Tensor};
use crate::kernels::head_norm;
use crate::kernels::linear::{Weight, WeightFormat};

/// `config.json` is small; what is larger is something else.
const MAX_CONFIG_BYTES: u64 = 1 << 20;
/// A model whose weights lie in a [`Store`].
#[derive(Clone, Debug)]
pub struct Model {
    pub architecture: Architecture,
    pub layers: Vec<LayerWeights>,
    /// The rows of the embedding, in slabs that each fit one binding.
    pub embedding: Vec<Slab>,
    /// The rows of the head: the embedding's own slabs where it is tied.
    pub head: Vec<Slab>,
    pub norm: Tensor,
    /// Bytes of the quantised layers, or of the layers as they are.
    pub linear_bytes: u64,
    /// Of name, dtype, shape and bytes of every tensor, whatever the order of reading; 0 where none was read.
    pub sum: u128,
}

#[derive(Clone, Debug)]
pub struct LayerWeights {
    pub norms: NormWeights,
    /// Of each head of queries and of keys, [head_dim].
    pub head_norm: Option<head_norm::Weights>,
    /// The stacked products of each group; several where formats forbid stacking.
    pub groups: ByGroup<Vec<Stacked>>,
}

/// The weights of a layer's norms.
#[derive(Clone, Copy, Debug)]
pub struct NormWeights {
    pub before_attention: Tensor,
    pub after_attention: Option<Tensor>,
    pub before_feed_forward: Tensor,
    pub after_feed_forward: Option<Tensor>,
}

/// One product over the stacked rows of `modules`, which begin at column `first_col` of the group.
#[derive(Clone, Debug)]
pub struct Stacked {
    pub modules: Vec<Module>,
    pub first_col: usize,
    pub weight: Weight,
    /// [N], zero where a module has none.
    pub bias: Option<Tensor>,
}

impl Stacked {
    /// N of the product, all modules together.
    pub fn cols(&self) -> usize {
        self.modules.iter().map(|module| module.outputs.padded).sum()
    }

    /// K of the product. Stacked modules share their input.
    pub fn inputs(&self) -> Width {
        self.modules[0].inputs
    }
}

/// Consecutive rows of the embedding or head.
#[derive(Clone, Copy, Debug)]
pub struct Slab {
    pub first_id: usize,
    pub n_ids: usize,
    pub weight: Weight,
}

/// How far loading is, in bytes of the checkpoint.
#[derive(Clone, Debug, Serialize)]
pub struct LoadProgress {
    pub loaded: u64,
    pub total: u64,
    /// The tensor that was just placed.
    pub name: String,
    pub file: String,
}

/// What loading is asked for.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    pub load_in_4bit: bool,
    pub double_quant: bool,
}

impl Model {
    /// Reads and checks `config.json` alone, before anything larger is fetched.
    pub async fn architecture(files: &impl Files) -> Result<Architecture> {
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
        files: &impl Files,
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
        }
        let files = TensorSums::new(files, tensors);
        let mut loader = Loader {
            files: &files,
            checkpoint,
            options,
            store,
            on_progress,
            loaded: 0,
            total,
            norm_offset: if architecture.norms_add_one { 1.0 } else { 0.0 },
        };
        let (hidden, table) = (architecture.hidden, [architecture.vocab.real, architecture.hidden.real]);
        let embedding = loader.rows(EMBEDDING, &table).await?;
        let mut layers = Vec::with_capacity(architecture.layers.len());
        let mut linear_bytes = 0;
        for (number, layer) in architecture.layers.iter().enumerate() {
            let prefix = format!("{LAYERS}.{number}");
            let before = loader.store.bytes(Class::Weights);
            let mut groups = ByGroup::<Vec<Stacked>>::default();
            for group in Group::ALL {
                groups[group] = loader.group(&prefix, &layer.groups[group]).await?;
            }
            linear_bytes += loader.store.bytes(Class::Weights) - before;
            for group in Group::ALL {
                for product in &mut groups[group] {
                    product.bias = loader.bias(&prefix, &product.modules, layer.scale(group)).await?;
                }
            }
            let norms = loader.norms(&prefix, layer.norms, hidden).await?;
            let head_norm = loader.head_norm(&prefix, &layer.attention).await?;
            layers.push(LayerWeights { norms, head_norm, groups });
        }
        let norm = loader.norm(FINAL_NORM, hidden).await?;
        let head = if architecture.tied { embedding.clone() } else { loader.rows(HEAD, &table).await? };
        let sum = if store.is_planned() { 0 } else { files.sum().await? };
        Ok(Model { architecture, layers, embedding, head, norm, linear_bytes, sum })
    }

    /// The distinct products of its layers and its head, for the tuner.
    pub fn products(&self) -> Vec<Product> {
        let of = |cols: usize, depth: usize, format, most_rows| Product {
            shape: Shape { cols: cols as u32, depth: depth as u32, format },
            most_rows,
        };
        let layers = self
            .layers
            .iter()
            .flat_map(|layer| layer.groups.0.iter().flatten())
            .map(|stacked| of(stacked.cols(), stacked.inputs().padded, stacked.weight.format, u32::MAX));
        // The head sees a block of labelled rows at a time, however many there are.
        let Architecture { hidden, vocab, .. } = self.architecture;
        let block = LossPlan::new(usize::from(u16::MAX), vocab.padded).block as u32;
        let head =
            self.head.iter().map(|slab| of(pad8(slab.n_ids), hidden.padded, slab.weight.format, block));
        // Layers come first: one with the shape of the head has more rows.
        let mut distinct: Vec<Product> = Vec::new();
        for product in layers.chain(head) {
            if !distinct.iter().any(|known| known.shape == product.shape) {
                distinct.push(product);
            }
        }
        distinct
    }
}

struct Loader<'a, F> {
    files: &'a F,
    checkpoint: Checkpoint,
    options: LoadOptions,
    store: &'a mut Store,
    on_progress: &'a mut dyn FnMut(LoadProgress),
    loaded: u64,
    total: u64,
    /// Added to the weights of norms.
    norm_offset: f32,
}

impl<F: Files> Loader<'_, F> {
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

    /// The biases of stacked modules one behind another, times `scale`.
    async fn bias(&mut self, prefix: &str, modules: &[Module], scale: f32) -> Result<Option<Tensor>> {
        if !modules.iter().any(|module| module.has_bias) {
            return Ok(None);
        }
        let cols = modules.iter().map(|module| module.outputs.padded).sum();
        let label = format!("{prefix}.{} bias", modules[0].path);
        let tensor = self.store.keep(Class::Weights, &label, cols)?;
        let mut biases = vec![0.0; cols];
        let mut first = 0;
        for module in modules {
            let Width { real, padded } = module.outputs;
            if module.has_bias {
                let info =
                    self.checkpoint.require(&format!("{prefix}.{}.bias", module.path), &[real])?.clone();
                if !self.store.is_planned() {
                    let mut values = Vec::new();
                    read_rows(self.files, &info, 0, real, &mut values).await?;
                    let scaled = values.iter().map(|value| scale * value);
                    biases.iter_mut().skip(first).zip(scaled).for_each(|(to, value)| *to = value);
                }
                self.placed(&info);
            }
            first += padded;
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

    /// The rows of an embedding, in as few slabs as bindings allow, in their own precision.
    async fn rows(&mut self, name: &str, shape: &[usize; 2]) -> Result<Vec<Slab>> {
        const SLAB_BYTES: usize = 120 << 20;
        let info = self.checkpoint.require(name, shape)?.clone();
        let [rows, width] = *shape;
        let format = dense_format(info.dtype);
        let words = format.row_words(pad8(width));
        let per_slab = (SLAB_BYTES / (words * 4) / 8 * 8).max(8);
        let mut slabs = Vec::new();
        for first_id in (0..rows).step_by(per_slab) {
            let n_ids = per_slab.min(rows - first_id);
            // The head's product wants whole blocks of 8 rows; those past the end are zero.
            let values = self.store.keep(Class::Weights, name, words * pad8(n_ids))?;
            self.dense_rows(&info, first_id, n_ids, format, values, 0).await?;
            slabs.push(Slab { first_id, n_ids, weight: Weight { format, values, scales: values } });
        }
        self.placed(&info);
        Ok(slabs)
    }

    /// Writes rows of a tensor as they are, each padded to whole words, from row `to_row` of `values`.
    async fn dense_rows(
        &self,
        info: &TensorInfo,
        first_row: usize,
        n_rows: usize,
        format: WeightFormat,
        values: Tensor,
        to_row: usize,
    ) -> Result<()> {
        if self.store.is_planned() {
            return Ok(());
        }
        let row_bytes = format.row_words(pad8(info.row_elements())) * 4;
        let true_bytes = info.row_elements() * info.dtype.bitsize() / 8;
        let per_piece = info.rows_in(PIECE_BYTES);
        let mut raw = Vec::new();
        for row in (0..n_rows).step_by(per_piece) {
            let rows = per_piece.min(n_rows - row);
            read_rows_raw(self.files, info, first_row + row, rows, &mut raw).await?;
            if true_bytes != row_bytes {
                let mut padded = vec![0u8; rows * row_bytes];
                for (to, from) in padded.chunks_mut(row_bytes).zip(raw.chunks(true_bytes)) {
                    to[..true_bytes].copy_from_slice(from);
                }
                raw = padded;
            }
            self.store.write_at(values, ((to_row + row) * row_bytes) as u64, &raw);
        }
        Ok(())
    }

    /// The products of modules that share their input: one where their formats let them be stacked.
    async fn group(&mut self, prefix: &str, modules: &[Module]) -> Result<Vec<Stacked>> {
        let mut infos = Vec::new();
        for module in modules {
            let name = format!("{prefix}.{}.weight", module.path);
            infos.push(self.checkpoint.require(&name, &module.shape())?.clone());
        }
        let true_depth = modules[0].inputs.real;
        let formats: Vec<WeightFormat> = infos
            .iter()
            .map(|info| match (self.options.load_in_4bit, true_depth % NF4_BLOCK) {
                (false, _) => dense_format(info.dtype),
                (true, 0) => WeightFormat::Nf4,
                (true, _) => WeightFormat::Nf4Any,
            })
            .collect();
        let stackable = formats.iter().all(|&format| format == formats[0] && format != WeightFormat::Nf4Any);
        let runs: Vec<&[Module]> = if stackable { vec![modules] } else { modules.chunks(1).collect() };
        let mut placed = infos.iter().zip(formats);
        let mut first_col = 0;
        let mut products = Vec::new();
        for modules in runs {
            let members: Vec<_> = placed.by_ref().take(modules.len()).collect();
            let label = format!("{prefix}.{}", modules[0].path);
            let weight = self.weight_of(&label, modules, members[0].1)?;
            let mut row = 0;
            for (module, (info, _)) in modules.iter().zip(members) {
                self.linear(info, weight, row).await.context(format!("loading {}", info.name))?;
                self.placed(info);
                row += module.outputs.padded;
            }
            products.push(Stacked { modules: modules.to_vec(), first_col, weight, bias: None });
            first_col += row;
        }
        Ok(products)
    }

    /// Room for the rows of stacked modules.
    fn weight_of(&mut self, label: &str, modules: &[Module], format: WeightFormat) -> Result<Weight> {
        let (cols, inputs) =
            (modules.iter().map(|module| module.outputs.padded).sum::<usize>(), modules[0].inputs);
        let values = self.store.keep(Class::Weights, label, cols * format.row_words(inputs.padded))?;
        let scales = match format {
            WeightFormat::Nf4 => self.store.keep(Class::Weights, label, cols * inputs.padded / NF4_BLOCK)?,
            // Padding rows read past the last block; one block of zeros ends the list.
            WeightFormat::Nf4Any => {
                self.store.keep(Class::Weights, label, (cols * inputs.real).div_ceil(NF4_BLOCK) + 1)?
            }
            _ => values,
        };
        Ok(Weight { format, values, scales })
    }

    /// Writes one linear weight from row `to_row` of `weight`.
    async fn linear(&self, info: &TensorInfo, weight: Weight, to_row: usize) -> Result<()> {
        let (rows, true_depth) = (info.rows(), info.row_elements());
        if !matches!(weight.format, WeightFormat::Nf4 | WeightFormat::Nf4Any) {
            return self.dense_rows(info, 0, rows, weight.format, weight.values, to_row).await;
        }
        if self.store.is_planned() {
            return Ok(());
        }
        let mut quantizer = Nf4Quantizer::new(&info.shape);
        let per_piece = info.rows_in(PIECE_BYTES);
        let mut values = Vec::new();
        for row in (0..rows).step_by(per_piece) {
            read_rows(self.files, info, row, per_piece.min(rows - row), &mut values).await?;
            quantizer.push(&values);
        }
        let mut quantized = quantizer.finish()?;
        if self.options.double_quant {
            double_quantize(&mut quantized.absmax);
        }
        let depth = pad8(true_depth);
        if weight.format == WeightFormat::Nf4 {
            self.store.write_at(weight.values, (to_row * depth / 2) as u64, &quantized.codes);
            self.store.write_at(weight.scales, (to_row * depth / NF4_BLOCK * 4) as u64, &quantized.absmax);
        } else {
            self.store.write(weight.values, &padded_codes(&quantized, true_depth));
            self.store.write(weight.scales, &quantized.absmax);
        }
        Ok(())
    }
}

fn dense_format(dtype: Dtype) -> WeightFormat {
    match dtype {
        Dtype::F16 => WeightFormat::F16,
        Dtype::BF16 => WeightFormat::Bf16,
        _ => WeightFormat::F32,
    }
}

/// Codes as bytes, rows and columns padded to a multiple of 8 with the code of zero: the first padding
/// row may share its scale with the last block.
pub fn padded_codes(tensor: &Nf4Tensor, true_depth: usize) -> Vec<u8> {
    const ZERO: u8 = 0x77;
    let (rows, depth) = (tensor.shape[0], pad8(true_depth));
    let mut bytes = vec![ZERO; pad8(rows) * depth / 2];
    for row in 0..rows {
        for k in 0..true_depth {
            let from = row * true_depth + k;
            let code = tensor.codes[from / 2] >> (4 * (1 - from % 2)) & 15;
            let byte = &mut bytes[(row * depth + k) / 2];
            *byte = if k % 2 == 0 { *byte & 0x0f | code << 4 } else { *byte & 0xf0 | code };
        }
    }
    bytes
}
