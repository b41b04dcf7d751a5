//! A row as token ids with its loss mask, as TRL's `SFTTrainer` makes them; what its `DPOTrainer` and
//! `KTOTrainer` make of preferences is in `preference.rs`.
//!
//! - Text and completions get an EOS at their end unless they have it; a chat gets what its template
//!   says, and no BOS of its own.
//! - A question and its answer are a chat; without a chat template they are a prompt and a completion.
//! - A completion starts at the longest common token prefix of the prompt and of prompt with completion.
//! - Truncation cuts at the right.

mod encoded;
mod preference;

use std::ops::Range;

use serde::{Deserialize, Serialize};
use tokenizers::Encoding;
use xxhash_rust::xxh3::xxh3_128;

use crate::bail;
use crate::data::example::{Example, Message, pair_text};
use crate::data::notice::Remark;
use crate::data::template::turns::Turns;
use crate::data::template::{Rendered, leaves_out};
use crate::data::tokenizer::Tokenizer;
use crate::error::{Code, Error, Result};

pub use encoded::Encoded;
pub use preference::mismatched;

/// What training does with a row of the dataset. Each becomes *units*, of as many rows of tokens each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RowUse {
    /// A row is learnt as it is: a unit is one row.
    #[default]
    Supervised,
    /// Two answers to a prompt are compared, as in DPO: a unit is the prompt with the chosen and with the rejected
    /// answer.
    Pairs,
    /// An answer is judged by itself, as in KTO: a unit is the prompt with the answer, and the answer alone, of which
    /// [`mismatched`] makes what another prompt is compared with. In the second all tokens are labelled where the
    /// answer is a desirable one, and none where it is not.
    Judged,
}

impl RowUse {
    /// Rows of a unit.
    pub fn rows_per_unit(self) -> u32 {
        match self {
            RowUse::Supervised => 1,
            RowUse::Pairs | RowUse::Judged => 2,
        }
    }

    /// How many of these, the first, the model is trained on as they are.
    pub fn policy_rows(self) -> u32 {
        match self {
            RowUse::Supervised | RowUse::Judged => 1,
            RowUse::Pairs => 2,
        }
    }
}

/// The options that decide a row's tokens and labels; TRL's names. Of preferences only `max_length` does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EncodeOptions {
    pub rows_as: RowUse,
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncodedRow {
    pub encoded: Encoded,
    /// Tokens before the row was cut to `max_length`.
    pub full_length: u32,
    /// Whether the row was longer than `max_length`.
    pub truncated: bool,
    /// What is worth telling of the row.
    pub remark: Option<Remark>,
}

/// Rows that are trained on together, as many as [`RowUse::rows_per_unit`] says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncodedUnit {
    pub rows: Vec<EncodedRow>,
    /// Whether there is something to learn from it.
    pub is_kept: bool,
}

impl<'a> Encoder<'a> {
    pub fn new(tokenizer: &'a Tokenizer, options: EncodeOptions) -> Self {
        Encoder { tokenizer, options }
    }

    /// Depends on all that decides a row's tokens: tokenizer, template and options.
    pub fn fingerprint(&self) -> String {
        let EncodeOptions { rows_as, assistant_only_loss, completion_only_loss, max_length } = self.options;
        let text = match rows_as {
            RowUse::Supervised => {
                // Runs that were saved before turns were found by marks go on where no turns are looked for, and the
                // words are those of builds that knew no other use of rows.
                let version = if assistant_only_loss { 2 } else { 1 };
                format!(
                    "{version} EncodeOptions {{ assistant_only_loss: {assistant_only_loss:?}, completion_only_loss: \
                     {completion_only_loss:?}, max_length: {max_length:?} }}"
                )
            }
            RowUse::Pairs | RowUse::Judged => format!("1 {rows_as:?} {{ max_length: {max_length:?} }}"),
        };
        format!("{:032x}", xxh3_128(format!("{text} {}", self.tokenizer.fingerprint()).as_bytes()))
    }

    /// What becomes of its rows.
    pub fn rows_as(&self) -> RowUse {
        self.options.rows_as
    }

    /// The units that a row of the dataset becomes: one, or two where an answer is judged and the row has two. Errors
    /// of code `bad-data` say what is wrong with the row, not where it is.
    pub fn units(&self, example: &Example) -> Result<Vec<EncodedUnit>> {
        match self.options.rows_as {
            RowUse::Supervised => {
                let row = self.encode(example)?;
                Ok(vec![EncodedUnit { is_kept: row.encoded.targets() > 0, rows: vec![row] }])
            }
            RowUse::Pairs => Ok(vec![self.pair(example)?]),
            RowUse::Judged => self.judged(example),
        }
    }

    /// Encodes one row to be learnt as it is, with the errors of [`Encoder::units`].
    pub fn encode(&self, example: &Example) -> Result<EncodedRow> {
        let mut left_out = false;
        let mut encoded = match example {
            Example::Rated { answer, is_good } => {
                let row = self.encode(answer)?;
                let bad = (!is_good && row.encoded.targets() > 0).then_some(Remark::RatingsNotUsed);
                return Ok(EncodedRow { remark: bad.or(row.remark), ..row });
            }
            Example::Preference { .. } | Example::ChatPreference { .. } => bail!(
                BadData,
                "the row is a preference (\"chosen\" and \"rejected\"), which this training does not use; set \
                 train.method to \"dpo\", or to another that learns from preferences"
            ),
            Example::Text(text) => {
                self.refuse_assistant_only("\"text\"")?;
                let ids = self.tokenizer.encode(&self.with_eos(text)?, true)?;
                Encoded { labelled: vec![true; ids.len()], ids }
            }
            Example::Completion { prompt, completion } => {
                self.refuse_assistant_only("a \"prompt\" that is a string")?;
                self.encode_text_pair(prompt, completion)?
            }
            Example::Chat(messages) => {
                let chat = self.render(messages)?;
                left_out = leaves_out(messages, &chat.rendered.text);
                self.encode_chat(messages, &chat)?
            }
            Example::Pair { prompt, completion } if self.tokenizer.chat_template().is_err() => {
                let completion: String = completion.iter().map(Message::content).collect();
                self.encode_text_pair(&pair_text(prompt), &completion)?
            }
            Example::ChatCompletion { prompt, completion } | Example::Pair { prompt, completion } => {
                let messages = [prompt.as_slice(), completion].concat();
                let chat = self.render(&messages)?;
                left_out = leaves_out(&messages, &chat.rendered.text);
                let mut encoded = self.encode_chat(&messages, &chat)?;
                if self.options.completion_only_loss.unwrap_or(true) {
                    self.mask_prompt_of_chat(&messages, prompt.len(), &chat, &mut encoded)?;
                }
                encoded
            }
        };
        let length = self.max_length();
        let full_length = encoded.ids.len() as u32;
        let truncated = encoded.ids.len() > length;
        let had_targets = encoded.targets() > 0;
        encoded.ids.truncate(length);
        encoded.labelled.truncate(length);
        let remark = match () {
            _ if had_targets && encoded.targets() == 0 => Some(Remark::AnswersCut),
            _ => self.remark(example).or(left_out.then_some(Remark::TemplateDropsText)),
        };
        Ok(EncodedRow { encoded, full_length, truncated, remark })
    }

    fn max_length(&self) -> usize {
        self.options.max_length.map_or(usize::MAX, |length| length as usize)
    }

    /// What is worth telling of a row beside its tokens.
    fn remark(&self, example: &Example) -> Option<Remark> {
        let template = self.tokenizer.chat_template().ok();
        let messages: Vec<&Message> = match example {
            Example::Completion { .. } if template.is_some() => return Some(Remark::PairsAsText),
            Example::Pair { .. } if template.is_none() => return Some(Remark::PairsWithoutTemplate),
            Example::Chat(messages) => messages.iter().collect(),
            Example::Pair { prompt, completion } | Example::ChatCompletion { prompt, completion } => {
                prompt.iter().chain(completion).collect()
            }
            _ => return None,
        };
        let is_lost = messages.iter().any(|message| message.field("tool_calls").is_some())
            && !template?.names("tool_calls");
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

    fn render(&self, messages: &[Message]) -> Result<Chat> {
        let rendered = self.tokenizer.chat_template()?.render(messages, false)?;
        let encoding = self.tokenizer.encode_with_offsets(&rendered.text)?;
        Ok(Chat { rendered, encoding })
    }

    fn encode_chat(&self, messages: &[Message], chat: &Chat) -> Result<Encoded> {
        let template = self.tokenizer.chat_template()?;
        let text = chat.rendered.text.as_str();
        let ids = chat.encoding.get_ids().to_vec();
        let mut labelled = vec![!self.options.assistant_only_loss; ids.len()];
        let is_silent = messages.iter().any(|message| !message.is_learnt());
        let finds_turns = self.options.assistant_only_loss && !template.has_generation_blocks();
        let mut turns = match finds_turns || is_silent {
            true => Some(Turns::new(template, messages, text)?),
            false => None,
        };
        let spans = turns.as_mut().map(Turns::of_assistant).transpose()?.unwrap_or_default();
        if finds_turns {
            chat.label(spans.iter().map(|(_, span)| span), true, &mut labelled);
        } else if self.options.assistant_only_loss {
            chat.label(&chat.rendered.generated, true, &mut labelled);
        }
        // A weight of 0 takes a message out of the loss.
        let silent = |index: usize| !messages[index].is_learnt();
        chat.label(
            spans.iter().filter(|(index, _)| silent(*index)).map(|(_, span)| span),
            false,
            &mut labelled,
        );
        if let (Some(turns), false) = (&turns, self.options.assistant_only_loss) {
            let others =
                (0..messages.len()).filter(|&index| silent(index) && messages[index].role() != "assistant");
            let contents: Vec<_> = others.filter_map(|index| turns.content(index)).collect();
            chat.label(&contents, false, &mut labelled);
        }
        Ok(Encoded { ids, labelled })
    }

    /// Masks what the first `prompt` of `messages` take. Where the template writes more than it does of these
    /// alone, that is what lies before the assistant's next turn.
    fn mask_prompt_of_chat(
        &self,
        messages: &[Message],
        prompt: usize,
        chat: &Chat,
        encoded: &mut Encoded,
    ) -> Result<()> {
        let alone = self.tokenizer.prompt_ids(&messages[..prompt])?;
        let mut masked = common_prefix(&alone, &encoded.ids);
        if masked < alone.len() {
            let template = self.tokenizer.chat_template()?;
            let mut turns = Turns::new(template, messages, &chat.rendered.text)?;
            let turns = turns.of_assistant().unwrap_or_default();
            if let Some((_, span)) = turns.iter().find(|(index, _)| *index == prompt) {
                let mut before = vec![false; encoded.ids.len()];
                chat.label([span], true, &mut before);
                masked = masked.max(before.iter().position(|is_said| *is_said).unwrap_or(0));
            }
        }
        encoded.labelled[..masked].fill(false);
        Ok(())
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

/// A chat as text and as tokens.
struct Chat {
    rendered: Rendered,
    /// With offsets in characters.
    encoding: Encoding,
}

impl Chat {
    /// Sets the labels of the tokens of `spans`, which are bytes of the text.
    fn label<'s>(
        &self,
        spans: impl IntoIterator<Item = &'s Range<usize>>,
        label: bool,
        labelled: &mut [bool],
    ) {
        let text = &self.rendered.text;
        // Offsets count characters. Spans come in order, so each is counted on from the one before.
        let (mut bytes, mut characters) = (0, 0);
        for span in spans {
            if span.start < bytes {
                (bytes, characters) = (0, 0);
            }
            let start = characters + text[bytes..span.start].chars().count();
            let end = start + text[span.clone()].chars().count();
            (bytes, characters) = (span.end, end);
            labelled[self.tokens(start..end)].fill(label);
        }
    }

    /// The tokens of a span of characters by the rule of transformers' `apply_chat_template`: from the first
    /// that holds its first character to the first that holds its last one. Characters at its edges that are
    /// in no token are passed over.
    fn tokens(&self, span: Range<usize>) -> Range<usize> {
        let offsets = self.encoding.get_offsets();
        let first_beyond = |character: usize| offsets.partition_point(|&(_, end)| end <= character);
        let first = first_beyond(span.start);
        let Some(last) = span.end.checked_sub(1).filter(|_| !span.is_empty()) else { return 0..0 };
        let end = first_beyond(last);
        let holds_last = offsets.get(end).is_some_and(|&(start, _)| start <= last);
        first..(end + usize::from(holds_last)).max(first)
    }
}

/// Takes the labels from the tokens that a row shares with its prompt.
fn mask_prompt(prompt: &[u32], ids: &[u32], labelled: &mut [bool]) {
    labelled[..common_prefix(prompt, ids)].fill(false);
}

/// How many leading tokens two rows share.
fn common_prefix(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}
