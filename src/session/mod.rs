//! The whole job on one GPU: load a model, import rows, train, evaluate, generate, save.
//!
//! Both faces of the engine, `api` in a browser and `train/` natively, are thin over this.

mod adapters;
mod answer;
mod estimate;
mod export;
mod notices;
mod reference;
mod run;
mod score;
mod tiles;
mod way;

use std::rc::Rc;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::adapter::PeftAdapter;
use crate::bail;
use crate::data::encode::Encoder;
use crate::data::kv::{Key, Kv, Table, Write};
use crate::data::library::{self, Description, OnBadRow};
use crate::data::look::{Lengths, SeenRow};
use crate::data::notice::Notice;
use crate::data::tokenizer::Tokenizer;
use crate::data::tokens::{self, DatasetReport, Selection, TokenSet};
use crate::device::{Device, Store};
use crate::error::{Code, Context, Error, Result};
use crate::files::{AsRead, Files};
use crate::format::gguf::ModelFolder;
use crate::format::read_small;
use crate::generate::Generator;
use crate::gpu::AdapterSummary;
use crate::kernels::linear::Tile;
use crate::kernels::lower::Target;
use crate::kernels::tiles::Tiles;
use crate::memory::{Class, Counters};
use crate::model::{LoadProgress, Model, ParameterPart, Stacked};
use crate::train::options::{QuantizationOptions, TrainOptions};
use crate::train::saved::{self, Found, Identity, RunRecord};
use crate::train::{EvalLog, Footprint, RunPlan, StepLog, Trainer, TrainerSetup};
use crate::tune;

use adapters::Adapters;
pub use adapters::{AdapterList, DEFAULT_ADAPTER, LoadedAdapter};
pub use answer::Generated;
use estimate::with_lighter_runs;
use run::Run;
pub use run::{Best, Resumed, RunLog, Saving};
pub use score::Texts;
use way::Way;

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

/// What a run will take.
#[derive(Clone, Debug, Serialize)]
pub struct Plan {
    pub total_steps: u32,
    #[serde(flatten)]
    pub footprint: Footprint,
    /// Rows that are trained on, and rows that are held out.
    pub train_rows: usize,
    pub eval_rows: usize,
    /// What is worth knowing of the options.
    pub notices: Vec<Notice>,
    /// Where the run goes on, if it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resumed: Option<Resumed>,
}

/// How a run is set up.
#[derive(Default)]
pub struct PrepareOptions<'a> {
    /// The `lora` part of the config, or null.
    pub lora: Value,
    /// The `train` part of the config, or null.
    pub train: Value,
    pub dataset: &'a str,
    pub eval_dataset: Option<&'a str>,
    /// The name under which checkpoints are kept; without one there are none.
    pub run_name: Option<&'a str>,
    /// Go on from the last checkpoint of that name, if there is one.
    pub resume_from_checkpoint: bool,
    /// Let the run take the place of another one's checkpoints under its name.
    pub overwrite: bool,
    /// Go on with a run on another kind of device than it began on, whose last bits are others.
    pub resume_on_other_device: bool,
}

/// One device with at most one model and one run on it. Rows of datasets lie in `R`.
pub struct Session<R> {
    device: Device,
    /// See [`Store::max_weight`].
    max_weight: u64,
    tiles: Tiles,
    /// Whether tiles are those of [`Session::set_tile`], so that none are tuned.
    is_fixed: bool,
    pub rows: R,
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

impl<R: Kv> Session<R> {
    /// Opens the machine's GPU. Code `webgpu-unavailable` where there is none.
    pub async fn open(rows: R) -> Result<Self> {
        Ok(Session::on(Device::open().await?, rows))
    }

    /// A session on a device that is open.
    pub fn on(device: impl Into<Device>, rows: R) -> Self {
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
        files: &impl Files,
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
            notices,
        };
        let marks = [store.mark(); 2];
        let fingerprint = format!("{:032x}", model.sum.wrapping_add(of_config));
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

    /// Checks the options of a run against the loaded model before any row is looked at.
    pub fn check_run(&self, lora: &Value, train: &Value) -> Result<()> {
        let Some(loaded) = &self.loaded else { return Err(no_model()) };
        Way::of(loaded, &TrainOptions::from_json(train)?, lora).map(drop)
    }

    /// Plans and records a run of the loaded model on an imported dataset. Its adapter, "default", starts from
    /// the loaded one of that name, where there is one, whose config then must agree with `lora`; it is the
    /// active one afterwards.
    ///
    /// Whatever is wrong with options, rows or checkpoints is told before the run before this one is freed, unless the
    /// storage fails while a checkpoint is read for the second time.
    pub async fn prepare(&mut self, options: PrepareOptions<'_>) -> Result<Plan> {
        self.prepare_while(options, &mut |_, _| true).await
    }

    /// The same, for as long as `on_reference` says so, which hears of how many rows of how many it is known what the
    /// reference makes of them, where the method has one; code `cancelled` where it does not, and then there is no run.
    pub async fn prepare_while(
        &mut self,
        options: PrepareOptions<'_>,
        on_reference: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Plan> {
        let train = TrainOptions::from_json(&options.train)?;
        if train.load_best_model_at_end && options.run_name.is_none() {
            bail!(
                BadOption,
                "train.load_best_model_at_end is true, but the run keeps no checkpoints: give it a run_name"
            );
        }
        let Some(loaded) = &self.loaded else { return Err(no_model()) };
        let way = Way::of(loaded, &train, &options.lora)?;
        let start = way.start(loaded);
        let (dataset, eval_dataset) = self.selections(&options, &train).await?;
        let of_rows = RunPlan::check(&loaded.model, &train, &dataset, eval_dataset.as_ref())?;
        let plain = |options: serde_json::Result<Value>| options.expect("options are plain data");
        let identity = Identity {
            model: loaded.fingerprint.clone(),
            model_as_read: loaded.fingerprint_as_read.clone(),
            dataset: dataset.set.fingerprint().to_owned(),
            eval_dataset: eval_dataset.as_ref().map(|selection| selection.set.fingerprint().to_owned()),
            init_adapter: Some(start.map_or_else(String::new, PeftAdapter::fingerprint)),
            options: Map::from_iter([
                ("train".to_owned(), train.identity().into()),
                ("lora".to_owned(), plain(serde_json::to_value(way.lora_config()))),
                ("quantization".to_owned(), plain(serde_json::to_value(&loaded.quantization))),
            ]),
            ..Identity::default()
        };
        let checkpoint = self.checkpoint_of(&options, &identity).await?;
        let flavour = self.device.flavour();
        let began_on = checkpoint.as_ref().map(|found| found.header.device().to_owned());
        let moved_from = began_on.filter(|began_on| *began_on != flavour);
        if let Some(began_on) = &moved_from
            && !options.resume_on_other_device
        {
            bail!(
                BadState,
                "the run was computed by {began_on} so far, and here {flavour} would go on with it, which gives other last \
                 bits: load the model with the device that it began on, or let it go on here with resume_on_other_device"
            );
        }
        // The tuner's choice belongs to the run, unless that began on another kind of adapter.
        let began_with = checkpoint.as_ref().and_then(|found| found.header.tiles.clone());
        let kept = began_with.filter(|tiles| tiles.suit(self.device.summary()));
        let mut notices: Vec<Notice> = train.notices.iter().cloned().chain(of_rows).collect();
        if let Some(began_on) = moved_from {
            let message = format!(
                "the run began on {began_on} and goes on on {flavour}: its last bits are no longer those that it would have had"
            );
            notices.push(Notice::new("device-replaced", message));
        } else if checkpoint.is_some() && kept.is_none() {
            let message = "the run began on another kind of GPU, or with products computed in a way that this version of \
                 tabtune no longer has: it goes on with those chosen here, and its last bits are no longer those that it \
                 would have had";
            notices.push(Notice::new("tiles-replaced", message));
        }
        let tiles = kept.unwrap_or_else(|| self.tiles.clone());
        let of_unit = train.rows_per_unit();
        let selections = [Some(dataset.clone()), eval_dataset.clone()];
        let rows =
            selections.each_ref().map(|rows| rows.as_ref().map_or(0, |rows| rows.rows.len() / of_unit));

        self.run = None;
        let target = Target::of(&self.device, &tiles);
        let mut trainer = self.trainer_for(way, train.clone(), (dataset, eval_dataset), &target).await?;
        if let Err(error) = self.know_references(&mut trainer, &train, selections, on_reference).await {
            drop(trainer);
            self.loaded.as_mut().ok_or_else(no_model)?.free_run();
            return Err(error);
        }
        let Some(loaded) = &mut self.loaded else { return Err(no_model()) };
        loaded.marks[1] = loaded.store.mark();
        let (total_steps, footprint) = (trainer.total_steps(), *trainer.footprint());
        let chance = f64::from(loaded.model.architecture.vocab.real as u32).ln();
        let mut run = Run::new(trainer, options.run_name, identity, tiles, flavour, chance);
        let mut resumed = None;
        if let Some(mut found) = checkpoint {
            let (step, damaged) = (found.header.progress.step, std::mem::take(&mut found.damaged));
            if let Err(error) = run.restore(&self.device, &loaded.store, &self.rows, found).await {
                loaded.free_run();
                return Err(error);
            }
            resumed = Some(Resumed { step, log: run.log().to_vec(), damaged });
        }
        if let Some(name) = options.run_name.filter(|_| resumed.is_none()) {
            self.rows.write(vec![Write::RemoveFrom(Key::new(Table::Samples, name, 0))]).await?;
        }
        loaded.adapters.active = Some(DEFAULT_ADAPTER.to_owned());
        self.run = Some(run);
        let [train_rows, eval_rows] = rows;
        Ok(Plan { total_steps, footprint, train_rows, eval_rows, notices, resumed })
    }

    /// The checkpoint that a run goes on from. A run that begins anew under a name that holds checkpoints of
    /// another one is refused with code `bad-state`, unless it may overwrite them.
    async fn checkpoint_of(
        &self,
        options: &PrepareOptions<'_>,
        identity: &Identity,
    ) -> Result<Option<Found>> {
        let Some(name) = options.run_name else { return Ok(None) };
        RunRecord::load(&self.rows, name).await?.expect_known(name)?;
        if options.resume_from_checkpoint {
            let latest = saved::latest(&self.rows, name).await?;
            if let Some(found) = &latest {
                found.header.identity.expect(identity)?;
            }
            return Ok(latest);
        }
        if !options.overwrite
            && let Some((step, kept)) = saved::latest_identity(&self.rows, name).await?
            && let Some((_, difference)) = kept.difference(identity)
        {
            bail!(
                BadState,
                "run {name:?} holds checkpoints of another run, up to step {step} ({difference}): give this run \
                 another run_name, let it take their place with overwrite, or go on with that one by \
                 resume_from_checkpoint and the options that it had"
            );
        }
        Ok(None)
    }

    /// Allocates and records a run in place of the one before.
    async fn trainer_for(
        &mut self,
        way: Way,
        train: TrainOptions,
        (dataset, eval_dataset): (Selection, Option<Selection>),
        target: &Target,
    ) -> Result<Trainer> {
        let Some(loaded) = &mut self.loaded else { return Err(no_model()) };
        loaded.free_run();
        let Loaded { model, store, adapters, .. } = loaded;
        let made = self.device.allocating(|| {
            let trained = way.trained((model, adapters), train.seed, (&self.device, store), target)?;
            let setup =
                TrainerSetup { model, trained, options: train.clone(), dataset, eval_dataset, target };
            Trainer::new(&self.device, store, setup)
        });
        made.await.map_err(|error| {
            loaded.store.truncate(loaded.marks[0]);
            if error.code != Code::OutOfMemory {
                return error;
            }
            with_lighter_runs(error, loaded, &way, &train, target)
        })
    }

    /// The rows to train and to evaluate on: two datasets, or one that is split.
    async fn selections(
        &self,
        options: &PrepareOptions<'_>,
        train: &TrainOptions,
    ) -> Result<(Selection, Option<Selection>)> {
        if options.eval_dataset.is_some() && train.test_size > 0.0 {
            bail!(BadOption, "train.test_size and an eval_dataset cannot go together");
        }
        let set = Rc::new(self.token_set(options.dataset, train).await?);
        let [dataset, held_out] = match options.eval_dataset {
            None => Selection::split(set, train.test_size),
            Some(name) => {
                let same = name == options.dataset;
                let held_out = if same { set.clone() } else { Rc::new(self.token_set(name, train).await?) };
                [set, held_out].map(Selection::all)
            }
        };
        let held_out = match train.max_eval_samples {
            Some(most) => held_out.sample(most),
            None => held_out,
        };
        Ok((dataset, Some(held_out).filter(|held_out| !held_out.rows.is_empty())))
    }

    fn running(&mut self) -> Result<(&Device, &R, &Store, &mut Run)> {
        match (&self.loaded, &mut self.run) {
            (Some(loaded), Some(run)) => Ok((&self.device, &self.rows, &loaded.store, run)),
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
async fn generation_eos(files: &impl Files) -> Result<Vec<u32>> {
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
