//! What the model as it is now says, in a chat or on from a text.

use serde::Serialize;
use serde_json::Value;
use web_time::Instant;

use super::{DEFAULT_ADAPTER, Loaded, Session, no_model};
use crate::bail;
use crate::data::shape::chat;
use crate::data::tokenizer::Tokenizer;
use crate::error::Result;
use crate::generate::{Generator, Sampler, SamplingOptions, Stop};
use crate::kernels::lower::Target;

/// An answer.
#[derive(Clone, Debug, Serialize)]
pub struct Generated {
    pub text: String,
    pub tokens: usize,
    pub tokens_per_second: f64,
    pub stop: Stop,
}

impl Session {
    /// Answers a chat, which is a list of messages, or goes on from a text: a string or `{"prompt": …}`. With
    /// `continue_final_message` it goes on with the last message of a chat, which gives what follows it alone.
    /// `on_text` hears each piece of text and returns whether to go on.
    pub async fn generate(
        &mut self,
        prompt: &Value,
        options: &Value,
        on_text: &mut dyn FnMut(&str) -> bool,
    ) -> Result<Generated> {
        let options = SamplingOptions::from_json(options)?;
        let target = Target::of(&self.device, &self.tiles);
        let Some(loaded) = &mut self.loaded else { return Err(no_model()) };
        let active = loaded.adapters.active.as_deref();
        if options.adapter == Some(true) && active.is_none() {
            bail!(
                BadState,
                "generate.adapter is true, but no adapter is active: prepare a run, or load or switch to an adapter"
            );
        }
        let adapter = options.adapter.unwrap_or(active.is_some());
        let prompt = prompt_ids(&loaded.tokenizer, prompt, options.continue_final_message)?;
        let context = loaded.model.architecture.context;
        if prompt.is_empty() || prompt.len() >= context {
            bail!(BadData, "the prompt has {} tokens; the model takes 1 to {}", prompt.len(), context - 1);
        }
        let end = prompt.len().saturating_add(options.max_new_tokens).min(context);
        let run = self.run.as_ref().filter(|_| active == Some(DEFAULT_ADAPTER));
        let changes_model = match (run, active) {
            (Some(run), _) => run.trainer.trained().changes_model(),
            (None, Some(name)) => {
                loaded.adapters.loaded.get(name).is_some_and(|adapter| adapter.config.changes_model())
            }
            (None, None) => false,
        };
        // One generator answers with the adapter and without where both are passes over the same model.
        let is_tuned = adapter && changes_model;
        let generator = loaded.generator.as_ref().filter(|_| loaded.generator_is_tuned == is_tuned);
        if generator.is_none_or(|generator| generator.capacity() < end) {
            loaded.drop_generator();
            let capacity = end.next_multiple_of(256).min(context);
            loaded.generator_is_tuned = is_tuned;
            let Loaded { store, model, adapters, .. } = loaded;
            let made = self.device.allocating(|| {
                let tuned = match changes_model && !adapter {
                    true => None,
                    false => adapters.tuned(run, model, (&self.device, &mut *store), &target)?,
                };
                let trained = tuned.as_deref();
                let model = trained.map_or(&*model, |trained| trained.model(model));
                let lora = trained.and_then(|trained| trained.lora.as_ref());
                Generator::new(&self.device, store, model, lora, &target, capacity)
            });
            match made.await {
                Ok(generator) => loaded.generator = Some(generator),
                Err(error) => {
                    loaded.drop_generator();
                    return Err(error);
                }
            }
        }
        let Loaded { store, tokenizer, stop_ids, generator, .. } = loaded;
        let generator = generator.as_mut().expect("a generator was just made");

        let began = Instant::now();
        let mut sampler = Sampler::new(options, &prompt);
        let mut decoder = tokenizer.stream_decoder();
        let mut text = String::new();
        let mut tokens = 0;
        let mut input = prompt;
        let mut position = 0;
        let stop = loop {
            let logits = generator.run(store, &input, position, adapter).await?;
            if logits.iter().any(|logit| !logit.is_finite()) {
                bail!(NotFinite, "the logits after token {} are not finite", position + input.len());
            }
            position += input.len();
            let next = sampler.next(logits);
            if stop_ids.contains(&next) {
                break Stop::Eos;
            }
            tokens += 1;
            let piece = decoder.push(next)?;
            text.push_str(&piece);
            if !piece.is_empty() && !on_text(&piece) {
                break Stop::Cancelled;
            }
            if position >= end - 1 {
                break Stop::Length;
            }
            input = vec![next];
        };
        let rest = decoder.finish()?;
        if !rest.is_empty() {
            on_text(&rest);
            text.push_str(&rest);
        }
        let tokens_per_second = tokens as f64 / began.elapsed().as_secs_f64().max(1e-6);
        Ok(Generated { text, tokens, tokens_per_second, stop })
    }
}

fn prompt_ids(tokenizer: &Tokenizer, prompt: &Value, continue_final_message: bool) -> Result<Vec<u32>> {
    match prompt {
        Value::String(_) | Value::Object(_) if continue_final_message => {
            bail!(
                BadOption,
                "generate.continue_final_message is about the last message of a chat; a text is gone on from without it"
            )
        }
        Value::String(text) => tokenizer.text_ids(text),
        Value::Object(fields) if fields.keys().eq(["prompt"]) => match &fields["prompt"] {
            Value::String(text) => tokenizer.text_ids(text),
            _ => bail!(BadData, "prompt must be a string"),
        },
        Value::Array(messages) if !messages.is_empty() => {
            if tokenizer.chat_template().is_err() {
                bail!(
                    BadModel,
                    "the model has no chat template, so it cannot be asked by messages; pass the text to go on from \
                     as a string"
                );
            }
            let messages = chat("messages", prompt)?;
            match continue_final_message {
                true => tokenizer.continued_ids(&messages),
                false => tokenizer.prompt_ids(&messages),
            }
        }
        _ => bail!(BadData, "generate needs a list with at least one message, a string or {{ prompt }}"),
    }
}
