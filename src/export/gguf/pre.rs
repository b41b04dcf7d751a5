//! What llama.cpp calls the way in which a byte-level tokenizer cuts text (`llama-vocab.cpp`). Only the patterns that
//! its names stand for can be written; with another one, ids would quietly be others.

use serde_json::Value;

use crate::format::gguf::patterns::{LLAMA3, O200K, QWEN, TEKKEN};

/// Every digit alone.
const DIGITS: &str = "digits";
/// GPT-2's pattern, which `tokenizers` has.
const GPT2: &str = "gpt2";

/// llama.cpp's name for the `pre_tokenizer` of a `tokenizer.json`; `None` where it has none.
pub(super) fn name(pre_tokenizer: &Value, ignores_merges: bool) -> Option<&'static str> {
    let alone = std::slice::from_ref(pre_tokenizer);
    let steps = pre_tokenizer["pretokenizers"].as_array().map_or(alone, Vec::as_slice);
    let cuts: Option<Vec<&str>> = steps.iter().map(cut).filter(|cut| *cut != Some("")).collect();
    match cuts?.as_slice() {
        [GPT2] => Some("gpt-2"),
        [DIGITS, GPT2] => Some("smollm"),
        [LLAMA3] if ignores_merges => Some("llama-bpe"),
        [LLAMA3] => Some("dbrx"),
        [QWEN] => Some("qwen2"),
        [TEKKEN] => Some("tekken"),
        [O200K] => Some("gpt-4o"),
        _ => None,
    }
}

/// What a step does: a pattern or one of the names above, empty where it cuts nothing.
fn cut(step: &Value) -> Option<&str> {
    match step["type"].as_str()? {
        "ByteLevel" if step["add_prefix_space"] == true => None,
        "ByteLevel" if step["use_regex"] == false => Some(""),
        "ByteLevel" => Some(GPT2),
        "Digits" if step["individual_digits"] == true => Some(DIGITS),
        // Both keep what the pattern finds and what lies between.
        "Split" => match (step["behavior"].as_str()?, step["invert"] == true) {
            ("Isolated", false) | ("Removed", true) => step["pattern"]["Regex"].as_str(),
            _ => None,
        },
        _ => None,
    }
}
