//! The parts that transformers 5's tokenizer classes put in the place of those of `tokenizer.json`.

use serde_json::{Value, json};

use super::tokenizer::{TOKENIZER, bad_model};
use crate::error::Result;

/// How Qwen's tokenizer cuts text (`PRETOKENIZE_REGEX` of transformers' `tokenization_qwen2.py`).
const QWEN: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// `tokenizer.json` as the class that `AutoTokenizer` takes for a model has it: `config` is `tokenizer_config.json`,
/// and `model_type` that of the model's config. Vocabulary, merges, added tokens and what stands around a text stay.
pub(super) fn as_its_class(tokenizer: Vec<u8>, config: &Value, model_type: &str) -> Result<Vec<u8>> {
    let class = config["tokenizer_class"].as_str().unwrap_or_default().trim_end_matches("Fast");
    let replace: fn(&mut Value, &Value) = match (model_type, class) {
        // Byte-level files of this class, such as Llama 3's, stay as they are.
        ("llama", "LlamaTokenizer") => as_llama,
        // For this model type no other class is believed.
        ("qwen2", _) | ("qwen3", "Qwen2Tokenizer" | "") => as_qwen,
        ("gemma3" | "gemma3_text", "GemmaTokenizer" | "") => as_gemma,
        _ => return Ok(tokenizer),
    };
    let mut file: Value = serde_json::from_slice(&tokenizer).map_err(|cause| bad_model(TOKENIZER, cause))?;
    if !file["model"].is_object() || model_type == "llama" && is_byte_level(&file) {
        return Ok(tokenizer);
    }
    replace(&mut file, config);
    Ok(file.to_string().into_bytes())
}

/// The mark of a blank stands before the first word of a text alone, unless the config says `legacy`, where older files
/// have it behind every special token too.
fn as_llama(file: &mut Value, config: &Value) {
    let has_prefix = config["add_prefix_space"].as_bool().unwrap_or(true);
    let scheme = match config["legacy"].as_bool() {
        _ if !has_prefix => "never",
        Some(true) => "always",
        _ => "first",
    };
    let mut decoders = sentence_piece_decoders();
    decoders.extend(has_prefix.then(|| json!({"type": "Strip", "content": " ", "start": 1, "stop": 0})));
    file["normalizer"] = Value::Null;
    file["pre_tokenizer"] =
        json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false});
    file["decoder"] = json!({"type": "Sequence", "decoders": decoders});
}

fn is_byte_level(file: &Value) -> bool {
    let parts = [&file["pre_tokenizer"], &file["decoder"], &file["post_processor"]];
    parts.iter().any(|part| part.to_string().contains("\"ByteLevel\""))
}

fn as_qwen(file: &mut Value, config: &Value) {
    let has_prefix = config["add_prefix_space"].as_bool().unwrap_or(false);
    file["normalizer"] = json!({"type": "NFC"});
    file["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": QWEN}, "behavior": "Isolated", "invert": false},
        {"type": "ByteLevel", "add_prefix_space": has_prefix, "trim_offsets": true, "use_regex": false},
    ]});
    file["decoder"] =
        json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true});
    set_model(file, &Value::Null, [false, false]);
}

fn as_gemma(file: &mut Value, config: &Value) {
    let unknown = &config["unk_token"];
    let unknown = unknown.as_str().or_else(|| unknown["content"].as_str()).unwrap_or("<unk>");
    file["normalizer"] = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
    file["pre_tokenizer"] = json!(
        {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": false}
    );
    file["decoder"] = json!({"type": "Sequence", "decoders": sentence_piece_decoders()});
    set_model(file, &unknown.into(), [true, true]);
}

fn set_model(file: &mut Value, unknown: &Value, [fuses_unknown, falls_back_to_bytes]: [bool; 2]) {
    file["model"]["unk_token"] = unknown.clone();
    file["model"]["fuse_unk"] = fuses_unknown.into();
    file["model"]["byte_fallback"] = falls_back_to_bytes.into();
    file["model"]["ignore_merges"] = false.into();
}

fn sentence_piece_decoders() -> Vec<Value> {
    vec![
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ]
}
