//! GGUF, the files of llama.cpp: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>. One is read as if it were a
//! Hugging Face folder: [`Gguf::folder`] makes the files that are small, and [`Gguf::tensors`] says where the weights lie.

mod config;
mod folder;
mod header;
mod kinds;
mod names;
mod ropes;
mod split;
mod tokenizer;
mod value;

use std::collections::BTreeMap;
use std::fmt;

pub use self::folder::ModelFolder;
pub use self::kinds::GgmlType;
pub use self::names::{Heads, Names, gguf_row, hf_row};
use self::ropes::RopeFactors;
pub use self::tokenizer::patterns;
pub use self::value::{Metadata, Number, Numbers, Strings, Value};
use crate::bail;
use crate::error::{Code, Error, Result};
use crate::files::Files;

const ARCHITECTURE: &str = "general.architecture";

/// The headers of a model in one GGUF or in the parts of a split one.
#[derive(Clone, Debug)]
pub struct Gguf {
    /// That of the first part.
    pub metadata: Metadata,
    pub tensors: Vec<GgufTensor>,
    ropes: RopeFactors,
}

/// Where one tensor lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GgufTensor {
    /// As in the file; [`Names`] has Hugging Face's.
    pub name: String,
    pub kind: GgmlType,
    /// Row-major dimensions, one to four of them, as Hugging Face has them: rows first.
    pub shape: Vec<usize>,
    pub file: String,
    /// Of the first byte, from the start of the file.
    pub start: u64,
    /// Length in bytes; equals that of `shape` and `kind`.
    pub len: u64,
}

impl GgufTensor {
    /// An error of code `bad-model` that names the file and the tensor.
    fn bad(&self, what: impl fmt::Display) -> Error {
        Error::new(Code::BadModel, format!("{}: tensor {}: {what}", self.file, self.name))
    }
}

impl Gguf {
    /// Reads the header of `name`, which may be any part of a split model, and those of the other parts.
    ///
    /// # Errors
    ///
    /// Code `bad-model` naming file and key or tensor when a file is missing, truncated or inconsistent;
    /// `unsupported-model` for a tensor of an encoding that is not read here.
    pub async fn open(files: &dyn Files, name: &str) -> Result<Gguf> {
        let (metadata, tensors) = split::read_parts(files, name).await?;
        let ropes = RopeFactors::read(files, &tensors).await?;
        Ok(Gguf { metadata, tensors, ropes })
    }

    /// Names of the model's tensors on both sides.
    ///
    /// # Errors
    ///
    /// Code `unsupported-model` naming the architecture when it is not done here.
    pub fn names(&self) -> Result<&'static Names> {
        let metadata = &self.metadata;
        let file = metadata.file();
        match metadata.string("general.type")? {
            None | Some("model") => {}
            Some(kind) => bail!(
                UnsupportedModel,
                "{file} holds {kind:?} by its general.type, not a model; take the file of the model itself"
            ),
        }
        let architecture = metadata.required(ARCHITECTURE, metadata.string(ARCHITECTURE)?)?;
        let Some(names) = Names::of_architecture(architecture) else {
            let known: Vec<&str> = Names::all().iter().map(|names| names.architecture).collect();
            bail!(
                UnsupportedModel,
                "{file}: {ARCHITECTURE} {architecture:?} is not supported; what works is {}",
                known.join(", ")
            );
        };
        Ok(names)
    }

    /// The tensor of this name in the file.
    pub fn tensor(&self, name: &str) -> Option<&GgufTensor> {
        self.tensors.iter().find(|tensor| tensor.name == name)
    }

    /// The `config.json` that transformers would have for this model. Errors as [`Gguf::folder`].
    pub fn config(&self) -> Result<serde_json::Value> {
        config::config(self, self.names()?)
    }

    /// The files of the tokenizer: `tokenizer.json`, `tokenizer_config.json`, and `chat_template.jinja` where there is a
    /// template. Errors as [`Gguf::folder`].
    pub fn tokenizer(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        tokenizer::files(&self.metadata, self.names()?)
    }

    /// The files that a Hugging Face folder would have beside its weights: `config.json` and those of the tokenizer.
    ///
    /// # Errors
    ///
    /// Code `bad-model` naming file and key or tensor where something is missing or wrong; `unsupported-model` for an
    /// architecture, a tokenizer or a setting that is not done here.
    pub fn folder(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        let config = serde_json::to_vec_pretty(&self.config()?).expect("a value is JSON");
        let mut folder = self.tokenizer()?;
        folder.insert("config.json".to_owned(), config);
        Ok(folder)
    }
}
