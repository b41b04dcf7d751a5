//! What the engine made of rows that a person may have meant otherwise.

use serde::{Deserialize, Serialize};

/// What may be said of a row when it is turned into tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Remark {
    /// `prompt` and `completion` are learnt as bare text by a model that is asked by chats.
    PairsAsText,
    /// A question and its answer are learnt as text, for the model has no chat template.
    PairsWithoutTemplate,
    /// Messages call tools, of which the chat template writes nothing.
    ToolCallsNotWritten,
    /// The chat template leaves out something that was said.
    TemplateDropsText,
    /// All that was to be learnt lies behind `max_length`.
    AnswersCut,
    /// The prompt of a preference fills `max_length`.
    PromptsCut,
    /// An answer that is rated undesirable is learnt like a desirable one.
    RatingsNotUsed,
}

impl Remark {
    /// The notice of the rows that this is said of.
    pub fn of_rows(self, rows: u64) -> Notice {
        let rows = if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") };
        match self {
            Remark::PairsAsText => Notice::new(
                "pairs-as-text",
                format!(
                    "{rows} of a prompt and its answer: learnt as bare text, which a chat with this model does not \
                     reach; import with pairs: \"chat\" to have them asked as chats, or ask by a text to go on from"
                ),
            ),
            Remark::PairsWithoutTemplate => Notice::new(
                "pairs-without-template",
                format!(
                    "{rows} of question and answer: learnt as text, for the model has no chat template; ask by the \
                     text of the question and a line end"
                ),
            ),
            Remark::ToolCallsNotWritten => Notice::new(
                "tool-calls-not-written",
                format!(
                    "{rows} with tool calls: the model's chat template writes nothing of them; take a model whose \
                     template knows tools, or write the calls into the content"
                ),
            ),
            Remark::TemplateDropsText => Notice::new(
                "template-drops-text",
                format!(
                    "{rows} of which the model's chat template leaves out text, such as thoughts (<think>…</think>): \
                     it does not reach the model; a chat_template.jinja that is made for training keeps it"
                ),
            ),
            Remark::AnswersCut => Notice::new(
                "answers-cut",
                format!(
                    "{rows} cut to max_length before anything that is to be learnt, and dropped; raise max_length"
                ),
            ),
            Remark::PromptsCut => Notice::new(
                "prompts-cut",
                format!("{rows} whose prompt alone has max_length tokens or more, dropped; raise max_length"),
            ),
            Remark::RatingsNotUsed => Notice::new(
                "ratings-not-used",
                format!(
                    "{rows} with \"label\" false, an undesirable answer: this training learns it like a desirable one; \
                     set train.method to \"kto\" to learn from ratings, or import without such rows"
                ),
            ),
        }
    }
}

/// Something that is no error and is worth telling, e.g. that text of the rows never reaches the model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// A word to match on, e.g. `"pairs-as-text"`.
    pub code: String,
    /// The same for people: what was found, in how many rows, and what to do where it is not wanted.
    pub message: String,
}

impl Notice {
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Notice { code: code.to_owned(), message: message.into() }
    }
}
