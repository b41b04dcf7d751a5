//! The tokenizer of a Hugging Face folder: `tokenizer.json`, `tokenizer_config.json`, chat template.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tokenizers::Encoding;
use tokenizers::processors::template::TemplateProcessing;
use xxhash_rust::xxh3::Xxh3;

use super::tokenizer_class::as_its_class;
use crate::bail;
use crate::data::example::Message;
use crate::data::template::ChatTemplate;
use crate::error::{Code, Context, Error, Result};
use crate::files::Files;

pub(super) const TOKENIZER: &str = "tokenizer.json";
const CONFIG: &str = "tokenizer_config.json";
const TEMPLATE: &str = "chat_template.jinja";
const SPECIAL_TOKENS: &str = "special_tokens_map.json";
const MODEL_CONFIG: &str = "config.json";

/// The largest files that are read. The largest tokenizer.json of a public model is some 35 MB.
const MAX_TOKENIZER_BYTES: u64 = 256 << 20;
const MAX_CONFIG_BYTES: u64 = 16 << 20;

/// Text to token ids and back, with the model's special tokens and its chat template.
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    special_tokens: BTreeMap<String, String>,
    chat_template: Option<ChatTemplate>,
    fingerprint: u128,
    /// How many ids the model knows, where that was told.
    vocab_size: Option<usize>,
}

impl Tokenizer {
    /// Reads the tokenizer of a model's folder. Errors of code `bad-model` name the file.
    ///
    /// `tokenizer_config.json` and the template may be missing: what needs them says so later. Older folders
    /// keep the special tokens in `special_tokens_map.json`.
    pub async fn load(files: &dyn Files) -> Result<Self> {
        let tokenizer = tokenizer_json(files).await?;
        let mut config = read_json(files, CONFIG).await?;
        // As in transformers, that file counts for configs of before `added_tokens_decoder`.
        if config["added_tokens_decoder"].is_null()
            && let Value::Object(tokens) = read_json(files, SPECIAL_TOKENS).await?
        {
            if config.is_null() {
                config = Value::Object(Map::new());
            }
            if let Some(config) = config.as_object_mut() {
                config.extend(tokens.into_iter().filter(|(name, _)| name.ends_with("_token")));
            }
        }
        let template = match read_whole(files, TEMPLATE, MAX_CONFIG_BYTES).await? {
            Some(bytes) => Some(String::from_utf8(bytes).map_err(|cause| bad_model(TEMPLATE, cause))?),
            None => None,
        };
        Tokenizer::new(&tokenizer, &config, template)
    }

    /// Builds the tokenizer from the bytes of `tokenizer.json`, `tokenizer_config.json` and the text of
    /// `chat_template.jinja`, which comes before a template in the config.
    pub fn new(tokenizer: &[u8], config: &Value, template: Option<String>) -> Result<Self> {
        let mut fingerprint = Xxh3::new();
        for part in [tokenizer, config.to_string().as_bytes(), template.as_deref().unwrap_or("").as_bytes()] {
            fingerprint.update(&(part.len() as u64).to_le_bytes());
            fingerprint.update(part);
        }
        let mut inner =
            tokenizers::Tokenizer::from_bytes(tokenizer).map_err(|cause| bad_model(TOKENIZER, cause))?;
        // Rows are cut and padded by us, whatever the file was saved with.
        inner.with_truncation(None).map_err(|cause| bad_model(TOKENIZER, cause))?;
        inner.with_padding(None);

        let special_tokens = special_tokens(config);
        // Rows are not padded, so a pad token that the vocabulary lacks does no harm.
        if let Some(token) = ["bos_token", "eos_token"]
            .iter()
            .filter_map(|name| special_tokens.get(*name))
            .find(|token| inner.token_to_id(token).is_none())
        {
            bail!(BadModel, "{CONFIG} names the special token {token:?}, which is not in {TOKENIZER}");
        }
        follow_add_tokens(&mut inner, config, &special_tokens)?;

        let template = match template {
            Some(source) => Some(source),
            None => template_of_config(config)?,
        };
        let chat_template =
            template.map(|source| ChatTemplate::new(&source, special_tokens.clone())).transpose()?;
        let fingerprint = fingerprint.digest128();
        Ok(Tokenizer { inner, special_tokens, chat_template, fingerprint, vocab_size: None })
    }

    /// The same for a model that knows ids below `vocab_size` alone: text that holds others cannot be encoded.
    pub fn for_vocab(self, vocab_size: usize) -> Self {
        Tokenizer { vocab_size: Some(vocab_size), ..self }
    }

    /// Depends on the tokenizer's files, and on the model's vocabulary where that is smaller.
    pub fn fingerprint(&self) -> String {
        let smaller = self.vocab_size.filter(|size| *size < self.inner.get_vocab_size(true));
        format!("{:032x}{}", self.fingerprint, smaller.map_or(String::new(), |size| format!(" {size}")))
    }

    /// The token ids of `text`; `add_special_tokens` adds what the tokenizer puts around every text, such
    /// as a BOS.
    pub fn encode(&self, text: &str, add_special_tokens: bool) -> Result<Vec<u32>> {
        let encoding = self.inner.encode_fast(text, add_special_tokens).map_err(cannot_encode)?;
        self.refuse_unknown(encoding.get_ids())?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The tokens of `text`, without additions, with their offsets in characters (code points).
    pub fn encode_with_offsets(&self, text: &str) -> Result<Encoding> {
        let encoding = self.inner.encode_char_offsets(text, false).map_err(cannot_encode)?;
        self.refuse_unknown(encoding.get_ids())?;
        Ok(encoding)
    }

    fn refuse_unknown(&self, ids: &[u32]) -> Result<()> {
        let Some(size) = self.vocab_size else { return Ok(()) };
        if let Some(id) = ids.iter().find(|id| **id as usize >= size) {
            let token = self.inner.id_to_token(*id).unwrap_or_default();
            bail!(
                BadData,
                "the text holds the token {token:?} of id {id}, but the model's vocab_size is {size}"
            );
        }
        Ok(())
    }

    /// The text of token ids. Ids beyond the vocabulary give nothing.
    pub fn decode(&self, ids: &[u32], skip_special_tokens: bool) -> Result<String> {
        let text = self.inner.decode(ids, skip_special_tokens);
        text.map_err(|cause| Error::new(Code::BadModel, format!("{TOKENIZER} cannot decode: {cause}")))
    }

    /// Decodes token by token; see [`StreamDecoder`].
    pub fn stream_decoder(&self) -> StreamDecoder<'_> {
        StreamDecoder { tokenizer: self, ids: Vec::new(), given: 0 }
    }

    /// A special token by its name in `tokenizer_config.json`, e.g. `"eos_token"`.
    pub fn special_token(&self, name: &str) -> Option<&str> {
        self.special_tokens.get(name).map(String::as_str)
    }

    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Whether `id` is a token that stands for no text, such as the end of a turn.
    pub fn is_special(&self, id: u32) -> bool {
        self.inner.get_added_tokens_decoder().get(&id).is_some_and(|token| token.special)
    }

    pub fn eos_token(&self) -> Option<&str> {
        self.special_token("eos_token")
    }

    pub fn eos_token_id(&self) -> Option<u32> {
        self.eos_token().and_then(|token| self.token_to_id(token))
    }

    /// The tokens of a chat up to where the assistant is to speak.
    pub fn prompt_ids(&self, messages: &[Message]) -> Result<Vec<u32>> {
        self.encode(&self.chat_template()?.render(messages, true)?.text, false)
    }

    /// The tokens of a chat up to the end of what the assistant says in its last message.
    pub fn continued_ids(&self, messages: &[Message]) -> Result<Vec<u32>> {
        self.encode(&self.chat_template()?.render_continued(messages)?, false)
    }

    /// The tokens of a text to go on from, with what the tokenizer puts before every text.
    pub fn text_ids(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = self.encode(text, true)?;
        // One that closes every text would have nothing go on.
        let closes = self.eos_token().is_some_and(|eos| !text.ends_with(eos));
        if closes && ids.last().copied() == self.eos_token_id() {
            ids.pop();
        }
        Ok(ids)
    }

    /// The chat template; a model without one is an error of code `bad-model`.
    pub fn chat_template(&self) -> Result<&ChatTemplate> {
        let missing = || {
            let message = format!(
                "{CONFIG} has no chat_template, which chats need; take the model's chat variant, or train on rows of \
                 text or of question and answer and ask by a text to go on from"
            );
            Error::new(Code::BadModel, message)
        };
        self.chat_template.as_ref().ok_or_else(missing)
    }
}

/// Decodes token by token and gives text as soon as it is whole: a character of several byte tokens
/// comes with its last one.
pub struct StreamDecoder<'a> {
    tokenizer: &'a Tokenizer,
    /// The tokens whose text was given last, as context, and those whose text is still to come.
    ids: Vec<u32>,
    /// How many of `ids` have been given.
    given: usize,
}

impl StreamDecoder<'_> {
    /// Takes the next token and returns the text that it completes, often none.
    pub fn push(&mut self, id: u32) -> Result<String> {
        self.ids.push(id);
        let text = self.pending()?;
        if text.is_empty() || text.ends_with(char::REPLACEMENT_CHARACTER) {
            return Ok(String::new());
        }
        self.ids.drain(..self.given);
        self.given = self.ids.len();
        Ok(text)
    }

    /// What is left at the end: unfinished characters become U+FFFD.
    pub fn finish(self) -> Result<String> {
        self.pending()
    }

    /// The new text is told from its context by decoding both, as decoders treat the first token of a
    /// sequence in a way of its own (Llama's drops its space).
    fn pending(&self) -> Result<String> {
        let before = self.tokenizer.decode(&self.ids[..self.given], true)?;
        let all = self.tokenizer.decode(&self.ids, true)?;
        match all.strip_prefix(&before) {
            Some(new) => Ok(new.to_owned()),
            // A byte that fits no character spoils those of its context with it.
            None => self.tokenizer.decode(&self.ids[self.given..], true),
        }
    }
}

/// The variables that end in `_token`, each a string or an object with `content`. An empty one is none.
fn special_tokens(config: &Value) -> BTreeMap<String, String> {
    let Some(config) = config.as_object() else { return BTreeMap::new() };
    let text = |value: &Value| value.as_str().or_else(|| value["content"].as_str()).map(str::to_string);
    let named = config.iter().filter(|(name, _)| name.ends_with("_token"));
    let tokens = named.filter_map(|(name, value)| Some((name.clone(), text(value)?)));
    tokens.filter(|(_, token)| !token.is_empty()).collect()
}

/// `add_bos_token` and `add_eos_token`, where the config has them, replace what `tokenizer.json` says
/// about additions, as transformers 5 does.
fn follow_add_tokens(
    tokenizer: &mut tokenizers::Tokenizer,
    config: &Value,
    special_tokens: &BTreeMap<String, String>,
) -> Result<()> {
    let wanted = |option: &str| config[option].as_bool();
    let (bos, eos) = (wanted("add_bos_token"), wanted("add_eos_token"));
    if bos.is_none() && eos.is_none() {
        return Ok(());
    }
    let token = |wanted: Option<bool>, name: &str| special_tokens.get(name).filter(|_| wanted == Some(true));
    let (bos, eos) = (token(bos, "bos_token"), token(eos, "eos_token"));
    let mut pieces: Vec<String> = bos.into_iter().cloned().collect();
    pieces.push("$A".to_string());
    pieces.extend(eos.cloned());
    let ids =
        bos.into_iter().chain(eos).filter_map(|token| Some((token.clone(), tokenizer.token_to_id(token)?)));
    let failed = |cause: String| bad_model(CONFIG, cause);
    let processor = TemplateProcessing::builder()
        .try_single(pieces)
        .map_err(failed)?
        .special_tokens(ids.collect::<Vec<_>>())
        .build()
        .map_err(|cause| failed(cause.to_string()))?;
    tokenizer.with_post_processor(Some(processor));
    Ok(())
}

/// `chat_template` is a string, or a list of `{name, template}` of which `default` counts.
fn template_of_config(config: &Value) -> Result<Option<String>> {
    match &config["chat_template"] {
        Value::Null => Ok(None),
        Value::String(source) => Ok(Some(source.clone())),
        Value::Array(named) => {
            let default = named.iter().find(|entry| entry["name"] == "default");
            match default.and_then(|entry| entry["template"].as_str()) {
                Some(source) => Ok(Some(source.to_string())),
                None => bail!(BadModel, "{CONFIG}: chat_template has no template named \"default\""),
            }
        }
        _ => bail!(BadModel, "{CONFIG}: chat_template must be a string or a list of named templates"),
    }
}

/// The bytes of `tokenizer.json` as the model's class in transformers has them.
pub async fn tokenizer_json(files: &dyn Files) -> Result<Vec<u8>> {
    let Some(tokenizer) = read_whole(files, TOKENIZER, MAX_TOKENIZER_BYTES).await? else {
        bail!(BadModel, "{TOKENIZER} is missing")
    };
    let config = read_json(files, CONFIG).await?;
    let model = read_json(files, MODEL_CONFIG).await?;
    as_its_class(tokenizer, &config, model["model_type"].as_str().unwrap_or_default())
}

/// The text of a folder's chat template.
pub async fn chat_template_source(files: &dyn Files) -> Result<Option<String>> {
    match read_whole(files, TEMPLATE, MAX_CONFIG_BYTES).await? {
        Some(bytes) => String::from_utf8(bytes).map(Some).map_err(|cause| bad_model(TEMPLATE, cause)),
        None => template_of_config(&read_json(files, CONFIG).await?),
    }
}

async fn read_json(files: &dyn Files, name: &str) -> Result<Value> {
    match read_whole(files, name, MAX_CONFIG_BYTES).await? {
        Some(bytes) => serde_json::from_slice(&bytes).map_err(|cause| bad_model(name, cause)),
        None => Ok(Value::Null),
    }
}

/// A file of at most `limit` bytes, where there is one.
async fn read_whole(files: &dyn Files, name: &str, limit: u64) -> Result<Option<Vec<u8>>> {
    let Some(size) = files.size(name).await? else { return Ok(None) };
    if size > limit {
        bail!(BadModel, "{name} has {size} bytes, more than the {limit} that such a file may have");
    }
    files.read(name, 0, size as usize).await.map(Some).context(format_args!("reading {name}"))
}

pub(super) fn bad_model(file: &str, cause: impl std::fmt::Display) -> Error {
    Error::new(Code::BadModel, format!("{file}: {cause}"))
}

fn cannot_encode(cause: tokenizers::Error) -> Error {
    Error::new(Code::BadModel, format!("{TOKENIZER} cannot encode this text: {cause}"))
}
