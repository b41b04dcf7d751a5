//! How likely the model finds texts, as it was loaded and as it was tuned.

use serde::Deserialize;
use serde_json::Value;

use super::{DEFAULT_ADAPTER, Session, no_model};
use crate::bail;
use crate::data::encode::{EncodeOptions, Encoded, Encoder, RowUse};
use crate::data::example::Example;
use crate::data::library;
use crate::data::shape::{self, Reading};
use crate::error::{Code, Context, Error, Result};
use crate::kernels::lower::Target;
use crate::train::options::TrainOptions;
use crate::train::{RowScore, Scorer};

/// Rows that are read and encoded at a time.
const ROWS: u64 = 64;

/// Texts to look at.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
pub enum Texts {
    /// Rows of a dataset, from `first` on, to its end where no `count` is said.
    Dataset {
        dataset: String,
        #[serde(default)]
        first: u64,
        count: Option<u64>,
    },
    /// Rows as datasets take them.
    Rows { rows: Vec<Value> },
}

impl Session {
    /// How likely the model finds each row of `texts`, in their order, encoded as `train` says; of pairs the chosen answer, then
    /// the rejected one. With `adapter` as it was tuned, by the active adapter or by the weights of the run, else as it was
    /// loaded. `on_progress` hears of rows done and rows in all, and says whether to go on.
    ///
    /// # Errors
    ///
    /// `bad-state` where nothing is tuned; `bad-data` naming the row; `cancelled`.
    pub async fn score(
        &mut self,
        texts: &Texts,
        adapter: bool,
        train: &Value,
        on_progress: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<Vec<RowScore>> {
        let options = TrainOptions::from_json(train)?.encode_options();
        let Some(loaded) = &mut self.loaded else { return Err(no_model()) };
        if adapter && loaded.adapters.active.is_none() {
            bail!(BadState, "no adapter is active: prepare a run, or load or switch to an adapter");
        }
        let all = match texts {
            Texts::Rows { rows } => rows.len() as u64,
            Texts::Dataset { dataset, first, count } => {
                let rows = library::Description::rows(&self.rows, dataset).await?.rows;
                count.unwrap_or(u64::MAX).min(rows.saturating_sub(*first))
            }
        };
        // The generator lies where the passes are to go.
        loaded.drop_generator();
        let mut scorer = None;
        let mut scores = Vec::new();
        let mut done = 0;
        let scored: Result<()> = async {
            while done < all {
                let count = ROWS.min(all - done);
                let encoded = self.encoded(texts, options, done, count).await?;
                self.score_rows(&mut scorer, &encoded, adapter, &mut scores, &mut || on_progress(done, all))
                    .await?;
                done += count;
            }
            Ok(())
        }
        .await;
        drop(scorer);
        self.loaded.as_mut().ok_or_else(no_model)?.drop_generator();
        scored?;
        on_progress(all, all);
        Ok(scores)
    }

    /// Scores rows by the passes of `scorer`, which is made where it is missing or too short.
    async fn score_rows(
        &mut self,
        scorer: &mut Option<Scorer>,
        rows: &[Encoded],
        adapter: bool,
        scores: &mut Vec<RowScore>,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<()> {
        let longest = rows.iter().map(|row| row.ids.len()).max().unwrap_or(0);
        let Some(loaded) = &mut self.loaded else { return Err(no_model()) };
        if scorer.as_ref().is_none_or(|scorer| scorer.longest() < longest) {
            *scorer = None;
            loaded.drop_generator();
            let target = Target::of(&self.device, &self.tiles);
            let is_of_run = loaded.adapters.active.as_deref() == Some(DEFAULT_ADAPTER);
            let run = self.run.as_ref().filter(|_| is_of_run);
            let made = self.device.allocating(|| {
                let tuned = match adapter {
                    true => loaded.adapters.tuned(
                        run,
                        &loaded.model,
                        (&self.device, &mut loaded.store),
                        &target,
                    )?,
                    false => None,
                };
                let trained = tuned.as_deref();
                let model = trained.map_or(&loaded.model, |trained| trained.model(&loaded.model));
                let lora = trained.and_then(|trained| trained.lora.as_ref());
                Scorer::new((&self.device, &mut loaded.store), (model, lora), &target, longest)
            });
            *scorer = Some(made.await?);
        }
        let scorer = scorer.as_mut().expect("a scorer was just made");
        let Some(found) = scorer.score(&loaded.store, rows, &mut |_| go_on()).await? else {
            bail!(Cancelled, "the scoring was stopped after {} texts", scores.len());
        };
        if found.iter().any(|score| !score.logp.is_finite()) {
            bail!(NotFinite, "the log-probability of a text is not finite");
        }
        scores.extend(found);
        Ok(())
    }

    /// Rows `first..first + count` of `texts` as tokens.
    async fn encoded(
        &self,
        texts: &Texts,
        options: EncodeOptions,
        first: u64,
        count: u64,
    ) -> Result<Vec<Encoded>> {
        let mut encoded = Vec::new();
        match texts {
            Texts::Dataset { dataset, first: from, .. } => {
                for row in library::rows(&self.rows, dataset, from + first, count).await? {
                    let rows = self.encoded_row(&row.row, options).context(row.origin())?;
                    encoded.extend(rows);
                }
            }
            Texts::Rows { rows } => {
                let reading = Reading { names: &Default::default(), pairs: Default::default() };
                for (index, row) in rows.iter().enumerate().skip(first as usize).take(count as usize) {
                    let no_object =
                        || Error::new(Code::BadData, "must be an object with the columns of a dataset");
                    let kept =
                        row.as_object().ok_or_else(no_object).and_then(|row| shape::keep(row, reading));
                    let rows = kept.and_then(|kept| self.encoded_row(&kept.row, options));
                    encoded.extend(rows.context(format_args!("row {}", index + 1))?);
                }
            }
        }
        Ok(encoded)
    }

    /// A row as tokens, or the two of a pair.
    fn encoded_row(&self, row: &Value, options: EncodeOptions) -> Result<Vec<Encoded>> {
        let Some(loaded) = &self.loaded else { return Err(no_model()) };
        let rows_as = if row["chosen"].is_null() { RowUse::Supervised } else { RowUse::Pairs };
        let encoder = Encoder::new(&loaded.tokenizer, EncodeOptions { rows_as, ..options });
        let units = encoder.units(&Example::from_json(row)?)?;
        Ok(units.into_iter().flat_map(|unit| unit.rows).map(|row| row.encoded).collect())
    }
}
