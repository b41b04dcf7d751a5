//! A row as token ids with its loss mask, as TRL's `SFTTrainer` makes them.
//!
//! - Text and completions get an EOS at their end unless they have it; a chat gets what its template
//!   says, and no BOS of its own.
//! - A question and its answer are a chat; without a chat template they are a prompt and a completion.
//! - A completion starts at the longest common token prefix of the prompt and of prompt with completion.
//! - Truncation cuts at the right.

use std::ops::Range;

use tokenizers::Encoding;
use xxhash_rust::xxh3::xxh3_128;

use crate::bail;
use crate::data::example::{Example, Message, pair_text};
use crate::data::notice::Remark;
use crate::data::template::ChatTemplate;
use crate::data::tokenizer::Tokenizer;
use crate::error::{Code, Error, Result};

/// A row's tokens, and which of them the loss counts as labels.
///
/// The model predicts token t + 1 at position t, so the first token is never a target, labelled or not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    pub ids: Vec<u32>,
    /// As long as `ids`.
    pub labelled: Vec<bool>,
}

impl Encoded {
    /// How many tokens the loss of this row runs over.
    pub fn targets(&self) -> usize {
        self.labelled.iter().skip(1).filter(|labelled| **labelled).count()
    }

    /// The row as bytes: n little-endian u32 ids, then ⌈n / 8⌉ bytes of labels, the first in the lowest bit.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.ids.iter().flat_map(|id| id.to_le_bytes()).collect();
        let bits = |chunk: &[bool]| chunk.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
        bytes.extend(self.labelled.chunks(8).map(bits));
        bytes
    }

    /// The bytes of a row of so many tokens.
    pub fn bytes_of(tokens: usize) -> usize {
        tokens * 4 + tokens.div_ceil(8)
    }

    /// The row that [`Encoded::to_bytes`] packed. Bytes that cannot be one are an error of code `bad-data`.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        // 8 · length = 33 n + r with r < 8, as n tokens take 4 n + ⌈n / 8⌉ bytes.
        let tokens = bytes.len() * 8 / 33;
        if bytes.len() != Encoded::bytes_of(tokens) {
            bail!(BadData, "a stored row of {} bytes is damaged", bytes.len());
        }
        let (ids, bits) = bytes.split_at(tokens * 4);
        let ids = ids.chunks_exact(4).map(|id| u32::from_le_bytes([id[0], id[1], id[2], id[3]])).collect();
        let labelled = (0..tokens).map(|t| bits[t / 8] >> (t % 8) & 1 == 1).collect();
        Ok(Encoded { ids, labelled })
    }
}

/// The options that decide a row's tokens and labels; TRL's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EncodeOptions {
    /// Label only what the assistant says. Needs rows that are chats.
    pub assistant_only_loss: bool,
    /// Label only completions; `None` is true for rows that have one. Other rows are not touched by it.
    pub completion_only_loss: Option<bool>,
    /// Tokens kept of a row, at its left; `None` keeps all.
    pub max_length: Option<u32>,
}

/// Turns rows into tokens for one model.
pub struct Encoder<'a> {
    tokenizer: &'a Tokenizer,
    options: EncodeOptions,
}

/// A row as it goes into training.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedRow {
    pub encoded: Encoded,
    /// Tokens before the row was cut to `max_length`.
    pub full_length: u32,
    /// Whether the row was longer than `max_length`.
    pub truncated: bool,
}

impl<'a> Encoder<'a> {
    pub fn new(tokenizer: &'a Tokenizer, options: EncodeOptions) -> Self {
        Encoder { tokenizer, options }
    }

    /// Depends on all that decides a row's tokens: tokenizer, template and options.
    pub fn fingerprint(&self) -> String {
        let text = format!("1 {:?} {}", self.options, self.tokenizer.fingerprint());
        format!("{:032x}", xxh3_128(text.as_bytes()))
    }

    /// Encodes one row. Errors of code `bad-data` say what is wrong with it, not where it is.
    pub fn encode(&self, example: &Example) -> Result<EncodedRow> {
        let mut encoded = match example {
            Example::Text(text) => {
                self.refuse_assistant_only("\"text\"")?;
                let ids = self.tokenizer.encode(&self.with_eos(text)?, true)?;
                Encoded { labelled: vec![true; ids.len()], ids }
            }
            Example::Completion { prompt, completion } => {
                self.refuse_assistant_only("a \"prompt\" that is a string")?;
                self.encode_text_pair(prompt, completion)?
            }
            Example::Chat(messages) => self.encode_chat(messages)?,
            Example::Pair { prompt, completion } if self.tokenizer.chat_template().is_err() => {
                let completion: String = completion.iter().map(Message::content).collect();
                self.encode_text_pair(&pair_text(prompt), &completion)?
            }
            Example::ChatCompletion { prompt, completion } | Example::Pair { prompt, completion } => {
                let mut encoded = self.encode_chat(&[prompt.as_slice(), completion].concat())?;
                if self.options.completion_only_loss.unwrap_or(true) {
                    mask_prompt(&self.tokenizer.prompt_ids(prompt)?, &encoded.ids, &mut encoded.labelled);
                }
                encoded
            }
        };
        let length = self.options.max_length.map_or(usize::MAX, |length| length as usize);
        let full_length = encoded.ids.len() as u32;
        let truncated = encoded.ids.len() > length;
        encoded.ids.truncate(length);
        encoded.labelled.truncate(length);
        Ok(EncodedRow { encoded, full_length, truncated })
    }

    /// What is worth telling of a row beside its tokens.
    pub fn remark(&self, example: &Example) -> Option<Remark> {
        let template = self.tokenizer.chat_template().ok();
        let messages: Vec<&Message> = match example {
            Example::Completion { .. } if template.is_some() => return Some(Remark::PairsAsText),
            Example::Pair { .. } if template.is_none() => return Some(Remark::PairsWithoutTemplate),
            Example::Text(_) | Example::Completion { .. } => return None,
            Example::Chat(messages) => messages.iter().collect(),
            Example::Pair { prompt, completion } | Example::ChatCompletion { prompt, completion } => {
                prompt.iter().chain(completion).collect()
            }
        };
        let is_lost =
            messages.iter().any(|message| message.has("tool_calls")) && !template?.names("tool_calls");
        is_lost.then_some(Remark::ToolCallsNotWritten)
    }

    /// A prompt and its completion with nothing between them.
    fn encode_text_pair(&self, prompt: &str, completion: &str) -> Result<Encoded> {
        let whole = format!("{prompt}{}", self.with_eos(completion)?);
        let ids = self.tokenizer.encode(&whole, true)?;
        let mut labelled = vec![true; ids.len()];
        // The answer to a question is what an assistant says, also where both are text.
        if self.options.assistant_only_loss || self.options.completion_only_loss.unwrap_or(true) {
            mask_prompt(&self.tokenizer.encode(prompt, true)?, &ids, &mut labelled);
        }
        Ok(Encoded { ids, labelled })
    }

    fn encode_chat(&self, messages: &[Message]) -> Result<Encoded> {
        let template = self.tokenizer.chat_template()?;
        let rendered = template.render(messages, false)?;
        let encoding = self.tokenizer.encode_with_offsets(&rendered.text)?;
        let ids = encoding.get_ids().to_vec();
        let labelled = if !self.options.assistant_only_loss {
            vec![true; ids.len()]
        } else if template.has_generation_blocks() {
            label(&encoding, &rendered.generated)
        } else {
            label(&encoding, &self.assistant_turns(template, messages, &rendered.text, &encoding)?)
        };
        Ok(Encoded { ids, labelled })
    }

    /// What the assistant says under a template without generation blocks, in characters of the whole chat:
    /// each of its messages from where the generation prompt before it ends to the end of its turn.
    fn assistant_turns(
        &self,
        template: &ChatTemplate,
        messages: &[Message],
        whole: &str,
        encoding: &Encoding,
    ) -> Result<Vec<Range<usize>>> {
        // Most templates only append. Where one does not (it closes a last turn with more than an earlier
        // one), common tokens count: common characters could reach into the next turn's first token.
        let shared = |messages: &[Message], add_generation_prompt| {
            let text = template.render(messages, add_generation_prompt)?.text;
            if whole.starts_with(&text) {
                return Ok(text.chars().count());
            }
            let tokens = common_prefix(&self.tokenizer.encode(&text, false)?, encoding.get_ids());
            Ok::<_, Error>(encoding.get_offsets()[..tokens].last().map_or(0, |(_, end)| *end))
        };
        let mut turns = Vec::new();
        for (index, _) in messages.iter().enumerate().filter(|(_, message)| message.role() == "assistant") {
            let turn = shared(&messages[..index], true)?..shared(&messages[..=index], false)?;
            if turn.is_empty() {
                bail!(
                    BadData,
                    "the chat template renders messages[{index}] differently in the whole chat, so that it cannot \
                     be found there; assistant_only_loss needs {{% generation %}} blocks in this template"
                );
            }
            turns.push(turn);
        }
        Ok(turns)
    }

    fn with_eos(&self, text: &str) -> Result<String> {
        let missing = || {
            Error::new(Code::BadModel, "tokenizer_config.json names no eos_token, which rows of text need")
        };
        let eos = self.tokenizer.eos_token().ok_or_else(missing)?;
        Ok(if text.ends_with(eos) { text.to_string() } else { format!("{text}{eos}") })
    }

    fn refuse_assistant_only(&self, shape: &str) -> Result<()> {
        if self.options.assistant_only_loss {
            bail!(
                BadData,
                "assistant_only_loss needs rows of messages, but this one has {shape}; switch it off, or import pairs \
                 with pairs: \"chat\""
            );
        }
        Ok(())
    }
}

/// Labels the tokens of `spans`, which are in characters, by the rule of transformers'
/// `apply_chat_template`: from the first token that holds a span's first character to the first that holds
/// its last one. A span that starts in no token ends the search; one that ends in none reaches to the end.
fn label(encoding: &Encoding, spans: &[Range<usize>]) -> Vec<bool> {
    let mut labelled = vec![false; encoding.len()];
    for span in spans {
        let Some(first) = encoding.char_to_token(span.start, 0) else { break };
        let last = span.end.checked_sub(1).and_then(|end| encoding.char_to_token(end, 0));
        let end = last.map_or(labelled.len(), |last| last + 1);
        labelled[first..end.max(first)].fill(true);
    }
    labelled
}

/// Takes the labels from the tokens that a row shares with its prompt.
fn mask_prompt(prompt: &[u32], ids: &[u32], labelled: &mut [bool]) {
    labelled[..common_prefix(prompt, ids)].fill(false);
}

/// How many leading tokens two rows share.
fn common_prefix(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
