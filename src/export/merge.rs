//! Base and adapter made one as PEFT's `merge_and_unload` does it on a processor; or weights that learnt themselves.

use std::collections::BTreeMap;
use std::ops::Range;

use super::options::ExportDtype;
use super::original::Original;
use crate::adapter::{LoraModule, PeftAdapter, Side, magnitude_name};
use crate::error::{Code, Error, Result};
use crate::files::Files;
use crate::format::{TensorInfo, read_rows};
use crate::model::{EMBEDDING, HEAD, LAYERS, Reader, adaptable, lora_modules, peft_name};

/// What training made of a model.
#[derive(Clone, Copy)]
pub enum Change<'a> {
    /// Nothing.
    None,
    Adapter(&'a PeftAdapter),
    /// Weights that learnt themselves, by the names of a model of text.
    Weights(&'a Reader<'a>),
}

/// The model as training changed it.
pub(super) struct Merged<'a> {
    pub original: &'a Original<'a>,
    /// The head of a tied model whose embedding or head learnt apart from the other.
    pub untied: Option<TensorInfo>,
    change: Change<'a>,
    /// What is adapted, by the names of the weights in the files.
    adapted: BTreeMap<&'a str, LoraModule>,
    /// What learnt itself: the names that the change has for it by those in the files.
    learnt: BTreeMap<String, String>,
}

/// The rows of one tensor, with the adapter's part.
pub(super) struct Rows<'a> {
    files: &'a dyn Files,
    tensor: &'a TensorInfo,
    lora: Option<Lora<'a>>,
    /// What has learnt this tensor, and its name there.
    learnt: Option<(Change<'a>, &'a str)>,
}

/// One module's matrices: A whole, B by rows.
struct Lora<'a> {
    adapter: &'a PeftAdapter,
    module: &'a LoraModule,
    /// `[r, in_features]`, row-major.
    a: Vec<f32>,
}

impl<'a> Merged<'a> {
    /// # Errors
    ///
    /// Code `bad-option` for an adapter that is none of the model's.
    pub fn new(original: &'a Original<'a>, change: Change<'a>) -> Result<Self> {
        let mut merged =
            Merged { original, untied: None, change, adapted: BTreeMap::new(), learnt: BTreeMap::new() };
        match change {
            Change::None => {}
            Change::Weights(reader) => {
                let tensors = original.tensors.iter().filter(|(name, _)| reader.has(name));
                merged.learnt.extend(tensors.map(|(name, tensor)| (tensor.name.clone(), name.clone())));
            }
            Change::Adapter(adapter) => merged.with(adapter)?,
        }
        Ok(merged)
    }

    fn with(&mut self, adapter: &'a PeftAdapter) -> Result<()> {
        let Original { architecture, tensors, .. } = self.original;
        for ((layer, module), lora) in architecture.modules().zip(lora_modules(architecture)) {
            if adapter.weights.contains_key(&lora.path) {
                let weight = &tensors[&format!("{LAYERS}.{layer}.{}.weight", module.path)];
                self.adapted.insert(weight.name.as_str(), lora);
            }
        }
        let base = adaptable(architecture);
        let saved: BTreeMap<&str, String> =
            adapter.config.saved(&base)?.into_iter().map(|(base, name)| (base.name.as_str(), name)).collect();
        let of = |name: &str| saved.get(peft_name(architecture, name).as_str()).cloned();
        for (name, tensor) in tensors {
            self.learnt.extend(of(name).map(|saved| (tensor.name.clone(), saved)));
        }
        if architecture.tied && (of(EMBEDDING).is_some() || of(HEAD).is_some()) {
            let embedding = &tensors[EMBEDDING];
            let name = match embedding.name.strip_suffix("model.embed_tokens.weight") {
                Some(before) => format!("{before}{HEAD}"),
                None => HEAD.to_owned(),
            };
            self.learnt.extend(of(HEAD).map(|saved| (name.clone(), saved)));
            self.untied = Some(TensorInfo { name, ..embedding.clone() });
        }
        Ok(())
    }

    /// The tensor of a name of a model of text.
    pub fn tensor(&self, name: &str) -> &TensorInfo {
        self.untied.as_ref().filter(|_| name == HEAD).unwrap_or_else(|| &self.original.tensors[name])
    }

    pub fn rows(&'a self, tensor: &'a TensorInfo) -> Rows<'a> {
        let lora = match self.change {
            Change::Adapter(adapter) => self.adapted.get(tensor.name.as_str()).map(|module| {
                let a = adapter.rows(module, Side::A, 0..adapter.config.rank_of(module));
                Lora { adapter, module, a }
            }),
            Change::None | Change::Weights(_) => None,
        };
        let learnt = self.learnt.get(&tensor.name).map(|name| (self.change, name.as_str()));
        Rows { files: self.original.files, tensor, lora, learnt }
    }
}

impl Rows<'_> {
    /// Replaces `out` with rows of the sum, each value as `dtype` has it. The base is rounded to it first, as transformers
    /// does when it loads a model in another dtype; the product is computed in f32, and so is the sum before it is rounded.
    ///
    /// # Errors
    ///
    /// As `read_rows`; `not-finite`, naming the tensor, where a value is beyond the dtype.
    pub async fn read(&self, rows: Range<usize>, dtype: ExportDtype, out: &mut Vec<f32>) -> Result<()> {
        let learnt = match self.learnt {
            Some((Change::Weights(reader), name)) => Some(reader.rows(name, rows.clone()).await?),
            Some((Change::Adapter(adapter), name)) => {
                adapter.other_rows(name, rows.clone(), self.tensor.row_elements())
            }
            Some((Change::None, _)) | None => None,
        };
        match learnt {
            Some(values) => *out = values,
            None => read_rows(self.files, self.tensor, rows.start, rows.len(), out).await?,
        }
        out.iter_mut().for_each(|value| *value = dtype.rounded(*value));
        if let Some(lora) = &self.lora {
            lora.add_to(rows, out);
            out.iter_mut().for_each(|value| *value = dtype.rounded(*value));
        }
        if out.iter().all(|value| value.is_finite()) {
            return Ok(());
        }
        let message = format!(
            "{}: values are beyond what {} can hold; take bf16 or f32",
            self.tensor.name,
            dtype.name()
        );
        Err(Error::new(Code::NotFinite, message))
    }
}

impl Lora<'_> {
    fn add_to(&self, rows: Range<usize>, out: &mut [f32]) {
        let config = &self.adapter.config;
        let (r, scale) = (config.rank_of(self.module), config.scale_of(self.module));
        let b = self.adapter.rows(self.module, Side::B, rows.clone());
        let magnitudes = self.adapter.other_rows(&magnitude_name(&self.module.path), rows, 1);
        let mut magnitudes = magnitudes.into_iter().flatten();
        let mut product = vec![0.0; self.module.in_features];
        for (out, b) in out.chunks_exact_mut(self.module.in_features).zip(b.chunks_exact(r)) {
            product.fill(0.0);
            for (&b, a) in b.iter().zip(self.a.chunks_exact(self.module.in_features)) {
                for (sum, &a) in product.iter_mut().zip(a) {
                    // A product of f32 is exact in f64, so this is rounded once, as a fused multiply-add is.
                    *sum = (f64::from(b) * f64::from(a) + f64::from(*sum)) as f32;
                }
            }
            for (out, sum) in out.iter_mut().zip(&product) {
                *out += sum * scale;
            }
            if let Some(magnitude) = magnitudes.next() {
                let norm = out.iter().map(|&w| f64::from(w) * f64::from(w)).sum::<f64>().sqrt() as f32;
                let factor = if norm == 0.0 { 0.0 } else { magnitude / norm };
                out.iter_mut().for_each(|out| *out *= factor);
            }
        }
    }
}
