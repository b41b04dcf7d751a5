//! Exports against PEFT, and what they do with files that are awkward.

mod merged;
mod sink;
