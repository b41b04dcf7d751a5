//! Base and adapter added up as PEFT's `merge_and_unload` does it on a processor.

use std::collections::BTreeMap;
use std::ops::Range;

use super::options::ExportDtype;
use super::original::Original;
use crate::adapter::{LoraModule, PeftAdapter, Side};
use crate::error::{Code, Error, Result};
use crate::files::Files;
use crate::format::{TensorInfo, read_rows};
use crate::model::{LAYERS, lora_modules};

/// The model with an adapter merged into it.
pub(super) struct Merged<'a, F> {
    pub original: &'a Original<'a, F>,
    pub adapter: Option<&'a PeftAdapter>,
    /// What is adapted, by the names of the weights in the files.
    adapted: BTreeMap<&'a str, LoraModule>,
}

/// The rows of one tensor, with the adapter's part.
pub(super) struct Rows<'a, F> {
    files: &'a F,
    tensor: &'a TensorInfo,
    lora: Option<Lora<'a>>,
}

/// One module's matrices: A whole, B by rows.
struct Lora<'a> {
    adapter: &'a PeftAdapter,
    module: &'a LoraModule,
    /// `[r, in_features]`, row-major.
    a: Vec<f32>,
}

impl<'a, F: Files> Merged<'a, F> {
    pub fn new(original: &'a Original<'a, F>, adapter: Option<&'a PeftAdapter>) -> Self {
        let mut adapted = BTreeMap::new();
        if let Some(adapter) = adapter {
            let modules = original.architecture.modules().zip(lora_modules(&original.architecture));
            for ((layer, module), lora) in modules {
                if adapter.weights.contains_key(&lora.path) {
                    let weight = &original.tensors[&format!("{LAYERS}.{layer}.{}.weight", module.path)];
                    adapted.insert(weight.name.as_str(), lora);
                }
            }
        }
        Merged { original, adapter, adapted }
    }

    pub fn rows(&'a self, tensor: &'a TensorInfo) -> Rows<'a, F> {
        let lora = self.adapter.zip(self.adapted.get(tensor.name.as_str())).map(|(adapter, module)| {
            let a = adapter.rows(module, Side::A, 0..adapter.config.r);
            Lora { adapter, module, a }
        });
        Rows { files: self.original.files, tensor, lora }
    }
}

impl<F: Files> Rows<'_, F> {
    /// Replaces `out` with rows of the sum, each value as `dtype` has it. The base is rounded to it first, as transformers
    /// does when it loads a model in another dtype; the product is computed in f32, and so is the sum before it is rounded.
    ///
    /// # Errors
    ///
    /// As `read_rows`; `not-finite`, naming the tensor, where a value is beyond the dtype.
    pub async fn read(&self, rows: Range<usize>, dtype: ExportDtype, out: &mut Vec<f32>) -> Result<()> {
        read_rows(self.files, self.tensor, rows.start, rows.len(), out).await?;
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
        let (r, scale) = (self.adapter.config.r, self.adapter.config.scale());
        let b = self.adapter.rows(self.module, Side::B, rows);
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
        }
    }
}
