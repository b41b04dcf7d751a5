//! Rows of preferences as token ids, as TRL's `DPOTrainer` and `KTOTrainer` make them.
//!
//! - A chat's prompt is followed by the opening of the assistant's turn, and an answer of plain text by an EOS.
//! - An answer begins where the tokens of the prompt and those of prompt and answer part; of a pair, where the first of
//!   both does. What the prompt alone has beyond that is left out.
//! - A prompt that fills `max_length` leaves no answer, and the row is dropped.

use super::{Encoded, EncodedRow, EncodedUnit, Encoder, common_prefix};
use crate::data::example::{Example, Message, pair_text};
use crate::data::notice::Remark;
use crate::data::template::leaves_out;
use crate::error::{Code, Error, Result};

/// A prompt and the same with its answer, each as the tokenizer has it.
struct Answered {
    prompt: Vec<u32>,
    whole: Vec<u32>,
    remark: Option<Remark>,
}

impl Answered {
    /// The tokens before the answer.
    fn shared(&self) -> usize {
        common_prefix(&self.prompt, &self.whole)
    }
}

impl Encoder<'_> {
    /// The prompt with the chosen and with the rejected answer.
    pub(super) fn pair(&self, example: &Example) -> Result<EncodedUnit> {
        let Some([chosen, rejected]) = example.answers() else { return Err(no_pair(example)) };
        let both = [self.answered(&chosen)?, self.answered(&rejected)?];
        let shared = both[0].shared().min(both[1].shared());
        let is_kept = both.iter().all(|answered| self.is_learnt(answered, shared));
        Ok(EncodedUnit { rows: both.iter().map(|answered| self.cut(answered, shared)).collect(), is_kept })
    }

    /// Each answer of the row with its prompt and by itself.
    pub(super) fn judged(&self, example: &Example) -> Result<Vec<EncodedUnit>> {
        let judged = |answer: &Example, is_good: bool| {
            let answered = self.answered(answer)?;
            let shared = answered.shared();
            let alone = self.alone(&answered.whole[shared..], is_good);
            let is_kept = self.is_learnt(&answered, shared);
            Ok(EncodedUnit { rows: vec![self.cut(&answered, shared), alone], is_kept })
        };
        match (example, example.answers()) {
            (Example::Rated { answer, is_good }, _) => Ok(vec![judged(answer, *is_good)?]),
            (_, Some([chosen, rejected])) => Ok(vec![judged(&chosen, true)?, judged(&rejected, false)?]),
            _ => Err(not_rated(example)),
        }
    }

    fn answered(&self, example: &Example) -> Result<Answered> {
        let mut remark = self.remark(example);
        let (prompt, whole) = match example {
            Example::Completion { prompt, completion } => self.text_ids(prompt, completion)?,
            Example::Pair { prompt, completion } if self.tokenizer.chat_template().is_err() => {
                let completion: String = completion.iter().map(Message::content).collect();
                self.text_ids(&pair_text(prompt), &completion)?
            }
            Example::ChatCompletion { prompt, completion } | Example::Pair { prompt, completion } => {
                let messages = [prompt.as_slice(), completion].concat();
                let chat = self.render(&messages)?;
                if leaves_out(&messages, &chat.rendered.text) {
                    remark = remark.or(Some(Remark::TemplateDropsText));
                }
                (self.tokenizer.prompt_ids(prompt)?, chat.encoding.get_ids().to_vec())
            }
            _ => return Err(not_rated(example)),
        };
        Ok(Answered { prompt, whole, remark })
    }

    /// The ids of a prompt, and of it with its completion.
    fn text_ids(&self, prompt: &str, completion: &str) -> Result<(Vec<u32>, Vec<u32>)> {
        let whole = format!("{prompt}{}", self.with_eos(completion)?);
        Ok((self.tokenizer.encode(prompt, true)?, self.tokenizer.encode(&whole, true)?))
    }

    /// Whether something of an answer is left that begins behind `shared` tokens.
    fn is_learnt(&self, answered: &Answered, shared: usize) -> bool {
        shared < answered.whole.len() && shared < self.max_length()
    }

    /// Prompt and answer, which begins behind `shared` tokens.
    fn cut(&self, answered: &Answered, shared: usize) -> EncodedRow {
        let ids: Vec<u32> = answered.whole.iter().copied().take(self.max_length()).collect();
        let is_filled = shared >= self.max_length();
        EncodedRow {
            full_length: answered.whole.len() as u32,
            truncated: ids.len() < answered.whole.len(),
            remark: if is_filled { Some(Remark::PromptsCut) } else { answered.remark },
            encoded: Encoded { labelled: (0..ids.len()).map(|token| token >= shared).collect(), ids },
        }
    }

    /// The tokens of an answer without its prompt.
    fn alone(&self, answer: &[u32], is_good: bool) -> EncodedRow {
        let ids: Vec<u32> = answer.iter().copied().take(self.max_length()).collect();
        EncodedRow {
            full_length: answer.len() as u32,
            truncated: ids.len() < answer.len(),
            remark: None,
            encoded: Encoded { labelled: vec![is_good; ids.len()], ids },
        }
    }
}

/// The prompt of one judged answer with the tokens of another, cut at `max_length` like any row, with the labels of an
/// answer. `prompt_of` is the first row of its unit, `completion_of` the second of another.
pub fn mismatched(prompt_of: &Encoded, completion_of: &Encoded, max_length: Option<u32>) -> Encoded {
    let first_label = prompt_of.labelled.iter().position(|labelled| *labelled);
    let prompt = &prompt_of.ids[..first_label.unwrap_or(prompt_of.ids.len())];
    let length = max_length.map_or(usize::MAX, |length| length as usize);
    let ids: Vec<u32> = prompt.iter().chain(&completion_of.ids).copied().take(length).collect();
    Encoded { labelled: (0..ids.len()).map(|token| token >= prompt.len()).collect(), ids }
}

fn no_pair(example: &Example) -> Error {
    let other = if matches!(example, Example::Rated { .. }) { "kto" } else { "sft" };
    let message = format!(
        "train.method \"dpo\" and its kin learn from rows with \"chosen\" and \"rejected\", perhaps with \"prompt\", but \
         this one has {}; import such rows, or set train.method to {other:?}",
        example.columns()
    );
    Error::new(Code::BadData, message)
}

fn not_rated(example: &Example) -> Error {
    let next = match example {
        Example::Text(_) | Example::Chat(_) => "import such rows, or set train.method to \"sft\"",
        _ => {
            "its label must be true or false; import it with columns: {\"label\": \"…\"} where its column has another \
             name or other values, or set train.method to \"sft\""
        }
    };
    let message = format!(
        "train.method \"kto\" learns from rows with \"prompt\", \"completion\" and \"label\", or with \"chosen\" and \
         \"rejected\", but this one has {}; {next}",
        example.columns()
    );
    Error::new(Code::BadData, message)
}
