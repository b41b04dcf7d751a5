//! The tokenizer of a GGUF as the files of a Hugging Face folder.

mod bpe;
mod file;
pub mod patterns;
mod sentencepiece;
mod vocabulary;

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use self::file::TokenizerFile;
use self::sentencepiece::Cut;
use self::vocabulary::Vocabulary;
use super::names::Names;
use super::value::{Metadata, Strings};
use crate::bail;
use crate::error::Result;

const MODEL: &str = "tokenizer.ggml.model";
const TEMPLATE: &str = "tokenizer.chat_template";

/// The parts of a tokenizer that depend on its kind.
struct Parts<'a> {
    normalizer: Json,
    pre_tokenizer: Json,
    decoder: Json,
    model: Model<'a>,
    /// What stands around a text where no key says it.
    adds_bos: bool,
}

/// A BPE model.
struct Model<'a> {
    /// `true` for the tokens of SentencePiece: an unknown token, and bytes for what is not in the vocabulary.
    falls_back_to_bytes: bool,
    unknown: Option<&'a str>,
    /// Whether a word that is a token is never cut.
    ignores_merges: bool,
    merges: Merges<'a>,
}

/// Pairs of tokens in the order in which they are joined.
enum Merges<'a> {
    /// Two tokens with a blank between them, as in the file.
    Listed(&'a Strings),
    Cut(Vec<Cut>),
}

/// `tokenizer.json`, `tokenizer_config.json`, and `chat_template.jinja` where there is a template.
pub(super) fn files(metadata: &Metadata, names: &Names) -> Result<BTreeMap<String, Vec<u8>>> {
    let model = metadata.required(MODEL, metadata.string(MODEL)?)?;
    let vocabulary = Vocabulary::read(metadata, model == "llama")?;
    let parts = match model {
        "gpt2" => bpe::parts(metadata, &vocabulary)?,
        "llama" => sentencepiece::parts(metadata, names, &vocabulary)?,
        other => bail!(
            UnsupportedModel,
            "{}: {MODEL} {other:?} is not supported; what works is gpt2 and llama",
            metadata.file()
        ),
    };
    let around = Around::read(metadata, &vocabulary, parts.adds_bos)?;
    let rstrip = model == "llama" && names.architecture == "phi3";
    let file = TokenizerFile { vocabulary: &vocabulary, parts: &parts, around: &around, rstrip };
    let tokenizer = serde_json::to_vec(&file).expect("strings and numbers are JSON");
    let mut folder = BTreeMap::from([
        ("tokenizer.json".to_owned(), tokenizer),
        ("tokenizer_config.json".to_owned(), around.config().to_string().into_bytes()),
    ]);
    if let Some(template) = metadata.string(TEMPLATE)? {
        folder.insert("chat_template.jinja".to_owned(), template.as_bytes().to_vec());
    }
    Ok(folder)
}

/// The special tokens that have a part to play, and which of them stand around a text.
struct Around<'a> {
    tokens: Vec<(&'static str, &'a str)>,
    adds_bos: bool,
    adds_eos: bool,
}

impl<'a> Around<'a> {
    fn read(metadata: &Metadata, vocabulary: &'a Vocabulary, adds_bos: bool) -> Result<Self> {
        let mut tokens = Vec::new();
        for (name, key) in [
            ("bos_token", "bos_token_id"),
            ("eos_token", "eos_token_id"),
            ("unk_token", "unknown_token_id"),
            ("pad_token", "padding_token_id"),
        ] {
            if let Some(token) = vocabulary.special(metadata, key)? {
                tokens.push((name, token));
            }
        }
        let adds = |key: &str| metadata.boolean(&format!("tokenizer.ggml.{key}"));
        let mut around = Around {
            tokens,
            adds_bos: adds("add_bos_token")?.unwrap_or(adds_bos),
            adds_eos: adds("add_eos_token")?.unwrap_or(false),
        };
        around.adds_bos &= around.token("bos_token").is_some();
        around.adds_eos &= around.token("eos_token").is_some();
        Ok(around)
    }

    fn token(&self, name: &str) -> Option<&'a str> {
        self.tokens.iter().find(|(known, _)| *known == name).map(|(_, token)| *token)
    }

    /// `tokenizer_config.json`.
    fn config(&self) -> Json {
        let mut config = Map::new();
        config.insert("tokenizer_class".to_owned(), "PreTrainedTokenizerFast".into());
        config.insert("clean_up_tokenization_spaces".to_owned(), false.into());
        config.insert("add_bos_token".to_owned(), self.adds_bos.into());
        config.insert("add_eos_token".to_owned(), self.adds_eos.into());
        for (name, token) in &self.tokens {
            config.insert((*name).to_owned(), (*token).into());
        }
        config.into()
    }

    /// What puts the special tokens around a text, behind the `byte_level` one of such tokenizers.
    fn post_processor(&self, vocabulary: &Vocabulary, byte_level: bool) -> Json {
        let mut processors = Vec::new();
        if byte_level {
            processors.push(json!(
                {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true}
            ));
        }
        let bos = self.token("bos_token").filter(|_| self.adds_bos);
        let eos = self.token("eos_token").filter(|_| self.adds_eos);
        if bos.is_some() || eos.is_some() {
            let special = |token: &str, part: u32| json!({"SpecialToken": {"id": token, "type_id": part}});
            let text = |name: &str, part: u32| {
                let text = json!({"Sequence": {"id": name, "type_id": part}});
                let (bos, eos) =
                    (bos.map(|token| special(token, part)), eos.map(|token| special(token, part)));
                bos.into_iter().chain([text]).chain(eos)
            };
            let ids: Map<String, Json> = bos
                .into_iter()
                .chain(eos)
                .map(|token| {
                    let id = vocabulary.id(token).expect("a special token is of the vocabulary");
                    (token.to_owned(), json!({"id": token, "ids": [id], "tokens": [token]}))
                })
                .collect();
            processors.push(json!({
                "type": "TemplateProcessing",
                "single": text("A", 0).collect::<Vec<_>>(),
                "pair": text("A", 0).chain(text("B", 1)).collect::<Vec<_>>(),
                "special_tokens": ids,
            }));
        }
        match processors.len() {
            0 => Json::Null,
            1 => processors.remove(0),
            _ => json!({"type": "Sequence", "processors": processors}),
        }
    }
}
