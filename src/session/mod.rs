//! The whole job on one GPU: load a model, import rows, train, evaluate, generate, save.
//!
//! Both faces of the engine, `api` in a browser and `train/` natively, are thin over this.

mod adapters;
mod answer;
mod blend;
mod estimate;
mod export;
mod notices;
mod prepare;
mod reference;
mod round;
mod run;
mod score;
mod tiles;
mod way;

use std::rc::Rc;

use serde::Serialize;
use serde_json::Value;

use crate::bail;
use crate::data::encode::Encoder;
use crate::data::kv::Kv;
use crate::data::library::{self, Description, OnBadRow};
use crate::data::look::{Lengths, SeenRow};
use crate::data::notice::Notice;
use crate::data::tokenizer::Tokenizer;
use crate::data::tokens::{self, DatasetReport, TokenSet};
use crate::device::{Device, Store};
use crate::error::{Code, Context, Error, Result};
use crate::files::{AsRead, Files};
use crate::format::gguf::ModelFolder;
use crate::format::read_small;
use crate::generate::Generator;
use crate::gpu::AdapterSummary;
use crate::kernels::linear::Tile;
use crate::kernels::tiles::Tiles;
use crate::memory::{Class, Counters};
use crate::model::{LoadProgress, Model, ParameterPart, Stacked};
use crate::train::options::{QuantizationOptions, TrainOptions};
use crate::train::{EvalLog, StepLog, Trainer};
use crate::tune;

use adapters::Adapters;
pub use adapters::{AdapterList, DEFAULT_ADAPTER, LoadedAdapter};
pub use answer::Generated;
pub use prepare::{Plan, PrepareOptions};
pub use round::{Layout, LayoutEntry};
use run::Run;
pub use run::{Best, Resumed, RunLog, Saving};
pub use score::Texts;

/// What was loaded.
#[derive(Clone, Debug, Serialize)]
pub struct ModelInfo {
    pub model_type: String,
    /// Values of all weights.
    pub parameters: u64,
    /// Values of the decoder's linear layers where they are quantised, otherwise 0.
    pub quantized_parameters: u64,
    pub weight_bytes: u64,
    /// Codes and scales; 0 where nothing is quantised.
    pub bits_per_quantized_parameter: f64,
    pub vocab_size: usize,
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    /// Positions the model takes.
    pub context: usize,
    /// Whether it can be asked as a chat; without a template it goes on from text.
    pub has_chat_template: bool,
    /// Of its config and weights as its files have them: the same wherever they lie, and whatever `quantization` makes of them.
    pub fingerprint: String,
    /// What is worth knowing of the files and of the options that they were loaded with.
    pub notices: Vec<Notice>,
}

/// Where loading is.
#[derive(Clone, Debug)]
pub enum Loading {
    /// Weights come in.
    Weights(LoadProgress),
    /// They are there, and products are timed in different ways, some seconds at most.
    Measuring,
}

/// One device with at most one model and one run on it. Rows of datasets, and what is kept of runs, lie in `rows`.
pub struct Session {
    device: Device,
    /// See [`Store::max_weight`].
    max_weight: u64,
    tiles: Tiles,
    /// Whether tiles are those of [`Session::set_tile`], so that none are tuned.
    is_fixed: bool,
    pub rows: Rc<dyn Kv>,
    loaded: Option<Loaded>,
    run: Option<Run>,
}

struct Loaded {
    model: Model,
    tokenizer: Tokenizer,
    store: Store,
    /// Tokens that end an answer.
    stop_ids: Vec<u32>,
    generator: Option<Generator>,
    /// Whether it was recorded with the copies of weights that a run trains.
    generator_is_tuned: bool,
    /// Of the model's config and weights.
    fingerprint: String,
    /// The same as the first form of saved runs has it.
    fingerprint_as_read: String,
    quantization: QuantizationOptions,
    /// What exported adapters call the model: a hub's id, an address or a path.
    base: Option<String>,
    adapters: Adapters,
    /// Where the store's tensors of the model end, and those of the run.
    marks: [usize; 2],
}

impl Session {
    /// Opens the machine's GPU. Code `webgpu-unavailable` where there is none.
    pub async fn open(rows: Rc<dyn Kv>) -> Result<Self> {
        Ok(Session::on(Device::open().await?, rows))
    }

    /// A session on a device that is open.
    pub fn on(device: impl Into<Device>, rows: Rc<dyn Kv>) -> Self {
        let device = device.into();
        let tiles = Tile::for_adapter(device.summary()).into();
        let max_weight = device.max_binding();
        Session { device, max_weight, tiles, is_fixed: false, rows, loaded: None, run: None }
    }

    /// Cuts the weights of models that are loaded from now on above `bytes`, as a device with smaller bindings would.
    pub fn set_max_weight(&mut self, bytes: u64) {
        self.max_weight = bytes;
    }

    /// Frees the model and the run.
    pub fn unload(&mut self) {
        self.run = None;
        self.loaded = None;
    }

    pub fn adapter(&self) -> &AdapterSummary {
        self.device.summary()
    }

    pub fn counters(&self) -> &Counters {
        self.device.counters()
    }

    /// Loads a model from its Hugging Face folder or its GGUF, quantising as it streams in.
    ///
    /// # Errors
    ///
    /// `unsupported-model` before any weight is read; `bad-model` naming file and tensor.
    pub async fn load_model(
        &mut self,
        files: &dyn Files,
        quantization: &Value,
        on_progress: &mut dyn FnMut(Loading),
    ) -> Result<ModelInfo> {
        self.unload();
        let quantization = QuantizationOptions::from_json(quantization)?;
        let files = &ModelFolder::open(files).await?;
        let weights = AsRead::new(files);
        let architecture = Model::architecture(&weights).await?;
        let of_config = weights.sum();
        let said_to_be_tied = architecture.tied;
        let tokenizer = Tokenizer::load(files).await?.for_vocab(architecture.vocab.real);
        let mut stop_ids = architecture.eos_token_ids.clone();
        stop_ids.extend(tokenizer.eos_token_id());
        stop_ids.extend(generation_eos(files).await?);

        let mut store = Store::new(&self.device).with_max_weight(self.max_weight);
        let options = quantization.load_options()?;
        let mut placed = |progress| on_progress(Loading::Weights(progress));
        let skipped = options.skip_modules.clone();
        let model = Model::load(&weights, architecture, options, &mut store, &mut placed).await?;
        self.device.check()?;

        let notices = notices::of_model(&quantization, &skipped, &model, said_to_be_tied);
        let quantized: u64 = model.quantized().map(Stacked::values).sum();
        let bits = 8.0 * model.quantized().map(|product| product.weight.bytes()).sum::<u64>() as f64;
        let fingerprint = format!("{:032x}", model.sum.wrapping_add(of_config));
        let info = ModelInfo {
            model_type: model.architecture.model_type.clone(),
            parameters: model.architecture.parameters(),
            quantized_parameters: quantized,
            weight_bytes: store.bytes(Class::Weights),
            bits_per_quantized_parameter: if quantized == 0 { 0.0 } else { bits / quantized as f64 },
            vocab_size: model.architecture.vocab.real,
            hidden_size: model.architecture.hidden.real,
            num_hidden_layers: model.architecture.layers.len(),
            context: model.architecture.context,
            has_chat_template: tokenizer.chat_template().is_ok(),
            fingerprint: fingerprint.clone(),
            notices,
        };
        let marks = [store.mark(); 2];
        let fingerprint_as_read = format!("{:032x}", weights.sum());
        let candidates = self.candidates(&quantization);
        self.loaded = Some(Loaded {
            model,
            tokenizer,
            store,
            stop_ids,
            generator: None,
            generator_is_tuned: false,
            fingerprint,
            fingerprint_as_read,
            quantization,
            base: files.place(),
            adapters: Adapters::default(),
            marks,
        });
        // On CPU adapters a variant takes longer to compile than tuning may take.
        if !self.is_fixed && !self.device.summary().is_software {
            on_progress(Loading::Measuring);
            self.tune(&candidates, tune::LOAD_SECONDS).await?;
        }
        Ok(info)
    }

    /// Tokenises the rows of dataset `name` for the loaded model, as far as that is not done yet.
    /// `on_progress` hears rows done and rows in all, and says whether to go on.
    pub async fn tokenize(
        &self,
        name: &str,
        train: &Value,
        on_progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<DatasetReport> {
        let Some(loaded) = &self.loaded else { return Err(no_model()) };
        let options = TrainOptions::from_json(train)?;
        let content = Description::rows(&self.rows, name).await?;
        let encoder = Encoder::new(&loaded.tokenizer, options.encode_options());
        tokens::tokenize(&self.rows, &content, &encoder, on_progress)
            .await
            .context(format_args!("dataset {name:?}"))
    }

    /// Rows `first..first + count` of dataset `name` as the loaded model will see them, without those that its
    /// import said to leave out.
    pub async fn preview(&self, name: &str, train: &Value, first: u64, count: u64) -> Result<Vec<SeenRow>> {
        let Some(loaded) = &self.loaded else { return Err(no_model()) };
        let options = TrainOptions::from_json(train)?;
        let encoder = Encoder::new(&loaded.tokenizer, options.encode_options());
        let leaves_out = Description::rows(&self.rows, name).await?.on_bad_row == OnBadRow::Skip;
        let rows = library::rows(&self.rows, name, first, count).await?;
        let seen = rows.iter().map(|row| SeenRow::new(row, &loaded.tokenizer, &encoder));
        let is_left_out = |error: &Error| leaves_out && error.code == Code::BadData;
        seen.filter(|seen| !seen.as_ref().is_err_and(is_left_out)).collect()
    }

    /// A histogram of the lengths of dataset `name`, tokenised as `train` says.
    pub async fn lengths(&self, name: &str, train: &Value, bins: usize) -> Result<Lengths> {
        let options = TrainOptions::from_json(train)?;
        Ok(Lengths::new(&self.token_set(name, &options).await?, bins))
    }

    async fn token_set(&self, name: &str, options: &TrainOptions) -> Result<TokenSet> {
        let Some(loaded) = &self.loaded else { return Err(no_model()) };
        let content = Description::rows(&self.rows, name).await?;
        let encoder = Encoder::new(&loaded.tokenizer, options.encode_options());
        TokenSet::make(&self.rows, &content, &encoder, &mut |_, _| true)
            .await
            .context(format_args!("dataset {name:?}"))
    }

    /// What exported adapters call the model from now on. By default it is where its files were read.
    pub fn set_base_name(&mut self, name: &str) -> Result<()> {
        let Some(loaded) = &mut self.loaded else { return Err(no_model()) };
        loaded.base = Some(name.to_owned());
        Ok(())
    }

    fn running(&mut self) -> Result<(&Device, &dyn Kv, &Store, &mut Run)> {
        match (&self.loaded, &mut self.run) {
            (Some(loaded), Some(run)) => Ok((&self.device, &*self.rows, &loaded.store, run)),
            _ => bail!(BadState, "no run was prepared"),
        }
    }

    /// The trainer of the prepared run.
    pub fn trainer(&mut self) -> Result<&mut Trainer> {
        self.running().map(|(_, _, _, run)| &mut run.trainer)
    }

    /// One optimiser step, with a checkpoint after it if one is due; `None` after the last one.
    pub async fn train_step(&mut self) -> Result<Option<RunLog>> {
        let (device, rows, store, run) = self.running()?;
        let stepped = run.step(device, store, rows).await;
        if run.is_torn() {
            self.run = None;
            self.loaded.as_mut().ok_or_else(no_model)?.free_run();
        }
        stepped
    }

    /// Saves a checkpoint of all steps so far. The logs of steps that were still on their way come with it.
    pub async fn save_checkpoint(&mut self) -> Result<(Vec<StepLog>, Option<Saving>)> {
        let (device, rows, store, run) = self.running()?;
        run.save_now(device, store, rows).await
    }

    /// The loss on the held-out dataset.
    pub async fn evaluate(&mut self) -> Result<EvalLog> {
        self.evaluate_while(&mut || true).await
    }

    /// The same, for as long as `go_on` says so; code `cancelled` where it does not.
    pub async fn evaluate_while(&mut self, go_on: &mut dyn FnMut() -> bool) -> Result<EvalLog> {
        let (device, rows, store, run) = self.running()?;
        run.evaluate((device, store), rows, go_on).await
    }

    /// Puts what the best evaluation of the run was of in place of what learnt last; no step is made after that.
    ///
    /// # Errors
    ///
    /// `bad-state` where none was kept.
    pub async fn load_best(&mut self) -> Result<Best> {
        let (device, rows, store, run) = self.running()?;
        let loaded = run.load_best(device, store, rows).await;
        if run.is_torn() {
            self.run = None;
            self.loaded.as_mut().ok_or_else(no_model)?.free_run();
        }
        loaded
    }

    /// What learns as it is after all steps so far, by name; for tests.
    pub async fn parameters(&mut self) -> Result<Vec<(String, Vec<f32>)>> {
        let (device, _, store, run) = self.running()?;
        run.trainer.reader(device, store, ParameterPart::Values).all().await
    }

    /// The gradients of the last step, by the names of what learns; for tests.
    pub async fn gradients(&mut self) -> Result<Vec<(String, Vec<f32>)>> {
        let (device, _, store, run) = self.running()?;
        run.trainer.reader(device, store, ParameterPart::Gradient).all().await
    }
}

fn no_model() -> Error {
    Error::new(Code::BadState, "no model was loaded")
}

/// The end tokens that `generation_config.json` names, which chat models often have more of.
async fn generation_eos(files: &dyn Files) -> Result<Vec<u32>> {
    const FILE: &str = "generation_config.json";
    let Some(json) = read_small(files, FILE, 1 << 20).await? else { return Ok(Vec::new()) };
    let config: Value = serde_json::from_slice(&json)
        .map_err(|error| Error::new(Code::BadModel, format!("{FILE}: {error}")))?;
    let id = |value: &Value| value.as_u64().and_then(|id| u32::try_from(id).ok());
    Ok(match &config["eos_token_id"] {
        Value::Array(ids) => ids.iter().filter_map(id).collect(),
        value => id(value).into_iter().collect(),
    })
}
