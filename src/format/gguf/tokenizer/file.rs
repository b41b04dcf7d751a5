//! `tokenizer.json` as it is written: hundreds of thousands of tokens and merges go straight into the text.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value as Json, json};

use super::vocabulary::{Kind, Vocabulary};
use super::{Around, Merges, Model, Parts};

pub(super) struct TokenizerFile<'a> {
    pub(super) vocabulary: &'a Vocabulary<'a>,
    pub(super) parts: &'a Parts<'a>,
    pub(super) around: &'a Around<'a>,
    /// Whether added tokens take the blanks behind them, as those of Phi-3 do.
    pub(super) rstrip: bool,
}

impl Serialize for TokenizerFile<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let TokenizerFile { vocabulary, parts, around, rstrip } = self;
        let mut file = serializer.serialize_map(None)?;
        file.serialize_entry("version", "1.0")?;
        file.serialize_entry("truncation", &Json::Null)?;
        file.serialize_entry("padding", &Json::Null)?;
        file.serialize_entry("added_tokens", &AddedTokens { vocabulary, rstrip: *rstrip })?;
        file.serialize_entry("normalizer", &parts.normalizer)?;
        file.serialize_entry("pre_tokenizer", &parts.pre_tokenizer)?;
        let byte_level = !parts.model.falls_back_to_bytes;
        file.serialize_entry("post_processor", &around.post_processor(vocabulary, byte_level))?;
        file.serialize_entry("decoder", &parts.decoder)?;
        file.serialize_entry("model", &ModelFile { vocabulary, model: &parts.model })?;
        file.end()
    }
}

/// Those that are found in a text before it is cut.
struct AddedTokens<'a> {
    vocabulary: &'a Vocabulary<'a>,
    rstrip: bool,
}

impl Serialize for AddedTokens<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let takes_blanks = |token: &str| self.rstrip && !matches!(token, "<unk>" | "<s>" | "<|endoftext|>");
        let added = |(id, (token, kind)): (usize, (&str, Kind))| {
            let special = match kind {
                Kind::Control | Kind::Unknown => true,
                Kind::UserDefined => false,
                Kind::Normal | Kind::Unused | Kind::Byte => return None,
            };
            Some(json!({
                "id": id,
                "content": token,
                "single_word": false,
                "lstrip": false,
                "rstrip": takes_blanks(token),
                "normalized": false,
                "special": special,
            }))
        };
        serializer.collect_seq(self.vocabulary.iter().enumerate().filter_map(added))
    }
}

struct ModelFile<'a> {
    vocabulary: &'a Vocabulary<'a>,
    model: &'a Model<'a>,
}

impl Serialize for ModelFile<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut model = serializer.serialize_map(None)?;
        model.serialize_entry("type", "BPE")?;
        model.serialize_entry("dropout", &Json::Null)?;
        model.serialize_entry("unk_token", &self.model.unknown)?;
        model.serialize_entry("continuing_subword_prefix", &Json::Null)?;
        model.serialize_entry("end_of_word_suffix", &Json::Null)?;
        model.serialize_entry("fuse_unk", &self.model.falls_back_to_bytes)?;
        model.serialize_entry("byte_fallback", &self.model.falls_back_to_bytes)?;
        model.serialize_entry("ignore_merges", &self.model.ignores_merges)?;
        model.serialize_entry("vocab", self.vocabulary)?;
        model.serialize_entry("merges", &self.model.merges)?;
        model.end()
    }
}

/// All tokens, added ones too: what the model knows keeps its id.
impl Serialize for Vocabulary<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().enumerate().map(|(id, (token, _))| (token, id)))
    }
}

impl Serialize for Merges<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Merges::Listed(merges) => serializer.collect_seq(merges.iter().filter_map(super::bpe::pair)),
            Merges::Cut(merges) => serializer.collect_seq(merges),
        }
    }
}
