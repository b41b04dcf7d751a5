//! Readying a run: its rows, what learns, and the checkpoint that it goes on from.

use std::rc::Rc;

use serde::Serialize;
use serde_json::{Map, Value};

use super::estimate::with_lighter_runs;
use super::run::Run;
use super::way::Way;
use super::{DEFAULT_ADAPTER, Loaded, Resumed, Session, no_model};
use crate::adapter::PeftAdapter;
use crate::bail;
use crate::data::kv::{Key, Kv, Table, Write};
use crate::data::library::Description;
use crate::data::notice::Notice;
use crate::data::tokens::Selection;
use crate::error::{Code, Result};
use crate::kernels::lower::Target;
use crate::train::options::TrainOptions;
use crate::train::saved::{self, Found, Identity, RunRecord};
use crate::train::{Footprint, RunPlan, Trainer, TrainerSetup};

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

impl Session {
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
            match &latest {
                Some(found) => found.header.identity.expect(identity)?,
                None => self.expect_no_former_run(options.dataset, name, identity).await?,
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

    /// Runs are named after their rows where they get no name. One that is not there under the name which the rows have
    /// now may be there under one that they had before: code `bad-state`, so that nobody takes it for lost.
    async fn expect_no_former_run(&self, dataset: &str, run: &str, identity: &Identity) -> Result<()> {
        if run != dataset {
            return Ok(());
        }
        for was in Description::load(&self.rows, dataset).await?.was.iter().rev() {
            if let Some((step, kept)) = saved::latest_identity(&self.rows, was).await?
                && kept.dataset == identity.dataset
            {
                bail!(
                    BadState,
                    "run {run:?} has no checkpoint, but dataset {dataset:?} was called {was:?} before, and run {was:?} \
                     learnt from it until step {step}: give that as run_name to go on with it, or leave out \
                     resume_from_checkpoint to begin anew"
                );
            }
        }
        Ok(())
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
}
