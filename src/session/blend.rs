//! An adapter made of several.

use super::adapters::unknown;
use super::export::Saved;
use super::{DEFAULT_ADAPTER, LoadedAdapter, Session, no_model};
use crate::adapter::{BlendPart, PeftAdapter, blend, load_peft};
use crate::error::{Context, Result};
use crate::model::adaptable;

impl Session {
    /// Makes the weighted sum of adapters an adapter of its own, as [`blend`] does, and the active one. It is called `name`,
    /// and one of that name is replaced, as [`Session::load_adapter`] does it; so it may be one of the parts. The adapter of
    /// a prepared run counts as it is now.
    ///
    /// # Errors
    ///
    /// `bad-option` for a name that no adapter has, and as [`blend`]; `bad-state` without a model, and for a run of all
    /// weights; `not-finite`. Nothing has changed then.
    pub async fn blend_adapters(&mut self, name: &str, parts: &[(String, f64)]) -> Result<LoadedAdapter> {
        let blended = self.blended(parts).await.context(format_args!("blending adapter {name:?}"))?;
        self.put_adapter(name, blended)
    }

    async fn blended(&mut self, parts: &[(String, f64)]) -> Result<PeftAdapter> {
        let Some(loaded) = &self.loaded else { return Err(no_model()) };
        let model = adaptable(&loaded.model.architecture);
        if let Some((part, _)) = parts.iter().find(|(part, _)| !self.has_adapter(part)) {
            return Err(unknown(part));
        }
        let has_run = self.run.is_some() && parts.iter().any(|(part, _)| part == DEFAULT_ADAPTER);
        let of_run = match has_run {
            true => Some(load_peft(&Saved(self.save(Some(DEFAULT_ADAPTER)).await?), &model).await?),
            false => None,
        };
        let Some(loaded) = &self.loaded else { return Err(no_model()) };
        let adapter = |part: &str| match &of_run {
            Some(adapter) if part == DEFAULT_ADAPTER => adapter,
            _ => &loaded.adapters.loaded[part],
        };
        let parts =
            parts.iter().map(|(name, weight)| BlendPart { name, adapter: adapter(name), weight: *weight });
        blend(&parts.collect::<Vec<_>>(), &model)
    }
}
