//! What prompts of a run were answered at some of its steps. Only the page knows what is in it.

use crate::data::kv::{Key, Kv, Table, Write};
use crate::error::Result;

/// Keeps the samples of a run in place of those that were kept.
pub async fn keep_samples(kv: &impl Kv, run: &str, json: &str) -> Result<()> {
    kv.write(vec![Write::Put(Key::new(Table::Samples, run, 0), json.as_bytes().to_vec())]).await
}

/// What was kept; `None` of a run that has none.
pub async fn samples(kv: &impl Kv, run: &str) -> Result<Option<String>> {
    let bytes = kv.get_one(Key::new(Table::Samples, run, 0)).await?;
    Ok(bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}
