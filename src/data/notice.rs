//! What the engine made of rows that a person may have meant otherwise.

use serde::{Deserialize, Serialize};

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
