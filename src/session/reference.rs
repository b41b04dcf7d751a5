//! What a reference makes of a run's rows, known before its first step.

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::{Loaded, Session, no_model};
use crate::adapter::PeftAdapter;
use crate::data::scores::Scores;
use crate::data::tokens::Selection;
use crate::error::Result;
use crate::format::WeightFormat;
use crate::train::Trainer;
use crate::train::options::{FinetuningType, ReferenceModel, TrainMethod, TrainOptions};

impl Session {
    /// Has `trainer`, which stands at its start, know what its reference makes of the rows to train and to evaluate on.
    pub(super) async fn know_references(
        &self,
        trainer: &mut Trainer,
        train: &TrainOptions,
        selections: [Option<Selection>; 2],
        on_reference: &mut dyn FnMut(u64, u64) -> bool,
    ) -> Result<()> {
        let Some(loaded) = &self.loaded else { return Err(no_model()) };
        if !trainer.has_reference_before() {
            return Ok(());
        }
        for (of, selection) in selections.into_iter().enumerate() {
            let Some(selection) = selection else { continue };
            let fingerprint = fingerprint(loaded, train, &selection, &self.device.flavour());
            let scores = Scores::open(&self.rows, &selection.set, &fingerprint).await?;
            let device = (&self.device, &loaded.store);
            trainer.know_reference(device, &self.rows, of, scores, on_reference).await?;
        }
        Ok(())
    }
}

/// Depends on all that decides what a reference makes of rows, whose tokens are known besides.
fn fingerprint(loaded: &Loaded, train: &TrainOptions, selection: &Selection, flavour: &str) -> String {
    let quantization = serde_json::to_string(&loaded.quantization).expect("options are plain data");
    let mut text = format!("{} {quantization} {flavour}", loaded.fingerprint);
    if train.preference.reference == ReferenceModel::Start {
        let start = loaded.adapters.loaded.get(super::DEFAULT_ADAPTER).map(PeftAdapter::fingerprint);
        let is_full = train.finetuning_type == FinetuningType::Full;
        text += &format!(" {start:?} {is_full}");
        if train.weight_format() != WeightFormat::F32 {
            text += &format!(" {}", train.weight_format().name());
        }
    }
    if train.method == TrainMethod::Kto {
        // Answers are compared with those of their neighbours in a micro-batch.
        let mut rows = Xxh3::new();
        selection.rows.iter().for_each(|row| rows.update(&row.to_le_bytes()));
        text += &format!(" {} {:x}", train.per_device_train_batch_size, rows.digest128());
    }
    format!("{:032x}", xxh3_128(text.as_bytes()))
}
