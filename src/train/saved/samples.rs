//! What prompts of a run were answered at some of its steps. Only the page knows what is in it.

use serde_json::Value;

use crate::data::kv::{Key, Kv, Table, Write};
use crate::error::Result;

/// Keeps the samples of a run in place of those that were kept.
pub async fn keep_samples(kv: &dyn Kv, run: &str, json: &str) -> Result<()> {
    kv.write(vec![Write::Put(Key::new(Table::Samples, run, 0), json.as_bytes().to_vec())]).await
}

/// What was kept; `None` of a run that has none.
pub async fn samples(kv: &dyn Kv, run: &str) -> Result<Option<String>> {
    let bytes = kv.get_one(Key::new(Table::Samples, run, 0)).await?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// Whether samples that came from outside are of the shape that the page keeps.
pub(super) fn are_samples(json: &[u8]) -> bool {
    let Ok(steps) = serde_json::from_slice::<Vec<Value>>(json) else { return false };
    let is_message = |message: &Value| ["role", "content"].iter().all(|part| message[part].is_string());
    let is_prompt = |prompt: &Value| match prompt {
        Value::Array(messages) => messages.iter().all(is_message),
        prompt => prompt.is_string() || prompt["prompt"].is_string(),
    };
    let is_sample = |sample: &Value| is_prompt(&sample["prompt"]) && sample["text"].is_string();
    steps.iter().all(|step| {
        let samples = step["samples"].as_array();
        step["step"].is_u64() && samples.is_some_and(|samples| samples.iter().all(is_sample))
    })
}
