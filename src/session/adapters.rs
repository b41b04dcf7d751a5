//! Adapters by name: the run's own, and those that were loaded from PEFT's folders.
//!
//! What was loaded stays on the host, beside the WebAssembly heap, and comes to the GPU while it answers, beside the generator that it is
//! recorded in: one at a time, without gradients and moments.

use std::collections::BTreeMap;
use std::ops::Deref;

use serde::Serialize;

use super::run::Run;
use super::{Loaded, Session, no_model};
use crate::adapter::{
    ADAPTER_WEIGHTS, AdapterTensor, FirstValues, LoraConfig, PeftAdapter, TargetModules, load_peft, save_peft,
};
use crate::bail;
use crate::device::{Device, Store};
use crate::error::{Code, Context, Error, Result};
use crate::files::{Files, Outside};
use crate::kernels::lower::Target;
use crate::model::{Architecture, Lora, Model, ParameterPart, Trained, adaptable, are_rows};

/// PEFT's name of an adapter that was given none: the one that runs start from and train.
pub const DEFAULT_ADAPTER: &str = "default";

/// An adapter that answers can be given with.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoadedAdapter {
    pub name: String,
    pub r: usize,
    pub lora_alpha: f64,
    pub target_modules: TargetModules,
    /// The model that it was trained on, as far as its files tell.
    pub base_model_name_or_path: Option<String>,
}

/// All adapters, and the one that takes part in answers. The weights of a run that trains all of them answer under the name
/// "default" too, without being among the adapters.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AdapterList {
    pub active: Option<String>,
    /// In the order of their names.
    pub adapters: Vec<LoadedAdapter>,
    /// Whether there is a prepared run, whose adapter is then among them.
    pub has_run: bool,
}

/// What was loaded beside a model, on the host.
#[derive(Default)]
pub(super) struct Adapters {
    pub loaded: BTreeMap<String, PeftAdapter>,
    /// May name the run's adapter, which is not among those loaded.
    pub active: Option<String>,
}

impl LoadedAdapter {
    fn new(name: &str, config: &LoraConfig, base: Option<String>) -> Self {
        LoadedAdapter {
            name: name.to_owned(),
            r: config.r,
            lora_alpha: config.lora_alpha,
            target_modules: config.target_modules.clone(),
            base_model_name_or_path: base,
        }
    }
}

impl Adapters {
    /// Puts a loaded adapter on the device.
    pub fn place(
        &self,
        name: &str,
        model: &Model,
        (device, store): (&Device, &mut Store),
        target: &Target,
    ) -> Result<Trained> {
        let Some(adapter) = self.loaded.get(name) else { return Err(unknown(name)) };
        let placed = Trained::fixed(model, adapter.config.clone(), store)?;
        placed.start(model, (device, store), target, Some(FirstValues::Of(adapter)))?;
        Ok(placed)
    }

    /// What is active, where something is: of `run`, if it is the run's, or put on the device.
    pub fn tuned<'a>(
        &self,
        run: Option<&'a Run>,
        model: &Model,
        device: (&Device, &mut Store),
        target: &Target,
    ) -> Result<Option<Tuned<'a>>> {
        Ok(match (&self.active, run) {
            (Some(_), Some(run)) => Some(Tuned::OfRun(run.trainer.trained())),
            (Some(name), None) => Some(Tuned::Placed(self.place(name, model, device, target)?.into())),
            (None, _) => None,
        })
    }
}

/// What the active adapter, or a run's weights, are recorded by.
pub(super) enum Tuned<'a> {
    OfRun(&'a Trained),
    Placed(Box<Trained>),
}

impl Deref for Tuned<'_> {
    type Target = Trained;

    fn deref(&self) -> &Trained {
        match self {
            Tuned::OfRun(trained) => trained,
            Tuned::Placed(trained) => trained,
        }
    }
}

impl Loaded {
    /// Frees what a run took. Its adapter goes with it, and the one that it started from is there again.
    pub(super) fn free_run(&mut self) {
        self.marks[1] = self.marks[0];
        self.drop_generator();
        let Adapters { loaded, active } = &mut self.adapters;
        active.take_if(|active| !loaded.contains_key(active));
    }

    /// Frees the generator and the adapter that it was recorded with.
    pub(super) fn drop_generator(&mut self) {
        self.generator = None;
        self.store.truncate(self.marks[1]);
    }
}

impl Session {
    /// Loads and checks an adapter and makes it the active one; one of the same name is replaced. The one
    /// that is called "default" is what runs start from: it takes the place of a prepared run and its adapter.
    ///
    /// # Errors
    ///
    /// `bad-adapter`, naming file and tensor or field; `bad-state` without a model. Nothing has changed then.
    pub async fn load_adapter(&mut self, name: &str, files: &dyn Files) -> Result<LoadedAdapter> {
        let Some(loaded) = &self.loaded else { return Err(no_model()) };
        let base = adaptable(&loaded.model.architecture);
        let adapter = async {
            let adapter = load_peft(files, &base).await?;
            leave_out_base(&self.device, loaded, files, &adapter).await?;
            Ok(adapter)
        };
        let adapter = adapter.await.context(format_args!("reading adapter {name:?}"))?;
        self.put_adapter(name, adapter)
    }

    /// Makes an adapter that is on the host one of the model's, and the active one.
    pub(super) fn put_adapter(&mut self, name: &str, adapter: PeftAdapter) -> Result<LoadedAdapter> {
        let Some(loaded) = &mut self.loaded else { return Err(no_model()) };
        if name.is_empty() {
            bail!(BadOption, "an adapter needs a name");
        }
        let told = LoadedAdapter::new(name, &adapter.config, adapter.base_model_name_or_path.clone());
        if name == DEFAULT_ADAPTER {
            self.run = None;
            loaded.free_run();
        }
        loaded.drop_generator();
        loaded.adapters.loaded.insert(name.to_owned(), adapter);
        loaded.adapters.active = Some(name.to_owned());
        Ok(told)
    }

    /// Lets another adapter take part in answers, or none.
    ///
    /// # Errors
    ///
    /// `bad-option` for a name that no adapter has.
    pub fn use_adapter(&mut self, name: Option<&str>) -> Result<()> {
        if let Some(name) = name.filter(|name| !self.has_adapter(name)) {
            return Err(unknown(name));
        }
        let Some(loaded) = &mut self.loaded else { return Err(no_model()) };
        if loaded.adapters.active.as_deref() != name {
            loaded.drop_generator();
            loaded.adapters.active = name.map(str::to_owned);
        }
        Ok(())
    }

    /// Forgets an adapter; was it the active one, none is afterwards. With "default" goes a prepared run.
    ///
    /// # Errors
    ///
    /// `bad-option` for a name that no adapter has.
    pub fn delete_adapter(&mut self, name: &str) -> Result<()> {
        if !self.has_adapter(name) {
            return Err(unknown(name));
        }
        let Some(loaded) = &mut self.loaded else { return Err(no_model()) };
        if name == DEFAULT_ADAPTER {
            self.run = None;
            loaded.free_run();
        }
        loaded.drop_generator();
        loaded.adapters.loaded.remove(name);
        loaded.adapters.active.take_if(|active| active == name);
        Ok(())
    }

    /// All adapters, that of a prepared run included.
    pub fn adapters(&self) -> AdapterList {
        let Some(loaded) = &self.loaded else { return AdapterList::default() };
        let mut adapters: BTreeMap<&str, LoadedAdapter> = loaded
            .adapters
            .loaded
            .iter()
            .map(|(name, adapter)| {
                let base = adapter.base_model_name_or_path.clone();
                (name.as_str(), LoadedAdapter::new(name, &adapter.config, base))
            })
            .collect();
        if let Some(lora) = self.run_adapter() {
            let own = LoadedAdapter::new(DEFAULT_ADAPTER, &lora.config, loaded.base.clone());
            adapters.insert(DEFAULT_ADAPTER, own);
        }
        AdapterList {
            active: loaded.adapters.active.clone(),
            adapters: adapters.into_values().collect(),
            has_run: self.run.is_some(),
        }
    }

    /// The adapter of a prepared run.
    pub(super) fn run_adapter(&self) -> Option<&Lora> {
        self.run.as_ref()?.trainer.trained().lora.as_ref()
    }

    pub(super) fn has_adapter(&self, name: &str) -> bool {
        let is_loaded = self.loaded.as_ref().is_some_and(|loaded| loaded.adapters.loaded.contains_key(name));
        is_loaded || (name == DEFAULT_ADAPTER && self.run.is_some())
    }

    /// The files of an adapter as PEFT reads them, by name: of the active one where none is named, and of
    /// "default" where none is active.
    ///
    /// # Errors
    ///
    /// `bad-state` where there is no adapter; `bad-option` for a name that none has; `not-finite`.
    pub async fn save(&mut self, name: Option<&str>) -> Result<BTreeMap<String, Outside>> {
        let Some(loaded) = &self.loaded else { return Err(no_model()) };
        let chosen = name.or(loaded.adapters.active.as_deref()).unwrap_or(DEFAULT_ADAPTER);
        let model = adaptable(&loaded.model.architecture);
        match (&self.run, loaded.adapters.loaded.get(chosen)) {
            (Some(run), _) if chosen == DEFAULT_ADAPTER => {
                let Some(lora) = &run.trainer.trained().lora else {
                    bail!(
                        BadState,
                        "the run trains all weights, so there is no adapter to save: save the model, in the format \
                         \"safetensors\" or \"gguf\""
                    );
                };
                let reader = run.trainer.reader(&self.device, &loaded.store, ParameterPart::Values);
                let rows = async |tensor: &AdapterTensor, rows| reader.rows(&tensor.name, rows).await;
                save_peft(&lora.config, loaded.base.as_deref(), &model, rows).await
            }
            (_, Some(adapter)) => {
                let base = loaded.base.as_deref().or(adapter.base_model_name_or_path.as_deref());
                let rows = async |tensor: &AdapterTensor, rows| Ok(adapter.tensor_rows(tensor, rows));
                save_peft(&adapter.config, base, &model, rows).await
            }
            _ if name.is_some() => Err(unknown(chosen)),
            _ => bail!(BadState, "there is no adapter to save: prepare a run or load one"),
        }
    }
}

pub(super) fn unknown(name: &str) -> Error {
    Error::new(Code::BadOption, format!("there is no adapter {name:?}"))
}

/// Makes sure that what PEFT saved of the base beside an adapter is what the model has, so that it can be
/// left out.
async fn leave_out_base(
    device: &Device,
    loaded: &Loaded,
    files: &dyn Files,
    adapter: &PeftAdapter,
) -> Result<()> {
    for (name, tensor) in &adapter.of_base {
        let slabs = if name.starts_with("lm_head") { &loaded.model.head } else { &loaded.model.embedding };
        let Architecture { vocab, hidden, .. } = &loaded.model.architecture;
        let fits = tensor.shape == [vocab.real, hidden.real];
        if !fits || !are_rows(device, &loaded.store, slabs, files, tensor).await? {
            bail!(
                BadAdapter,
                "{ADAPTER_WEIGHTS}: {name} differs from the model's: the vocabulary was changed, or trained \
                 along, when this adapter was made; load the model that it was made for"
            );
        }
    }
    Ok(())
}
