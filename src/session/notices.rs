//! What is worth knowing of a model and of the options that it was loaded with.

use crate::data::notice::Notice;
use crate::format::WeightFormat;
use crate::model::{LAYERS, Model, Module, SkipModules};
use crate::train::options::QuantizationOptions;

/// The notices of the options, and what the model adds. `said_to_be_tied` is what config.json has of its head.
pub(super) fn of_model(
    quantization: &QuantizationOptions,
    skipped: &SkipModules,
    model: &Model,
    said_to_be_tied: bool,
) -> Vec<Notice> {
    let mut notices = quantization.notices.clone();
    if said_to_be_tied && !model.architecture.tied {
        let message = "config.json ties embedding and head, but the files have a lm_head.weight with other \
                       values, which is used";
        notices.push(Notice::new("head-not-tied", message));
    }
    for (field, chance) in &model.architecture.dropouts {
        let message = format!(
            "config.json: {field} is {chance}, which transformers applies while a model trains: it is taken for 0 \
             here; lora.lora_dropout is the dropout that training has"
        );
        notices.push(Notice::new("dropout-not-applied", message));
    }
    notices.extend(kept_quantized(quantization, skipped, model));
    notices
}

/// Tells that weights are not as the options ask, because they are quantised in their files or come from a GGUF.
fn kept_quantized(options: &QuantizationOptions, skipped: &SkipModules, model: &Model) -> Option<Notice> {
    let (asked, formats): (_, &[WeightFormat]) = match (options.load_in_4bit, options.load_in_8bit) {
        (true, _) => ("load_in_4bit", &[WeightFormat::Nf4, WeightFormat::Nf4Any]),
        (_, true) => ("load_in_8bit", &[WeightFormat::Int8]),
        _ => return None,
    };
    let others = model.layers.iter().enumerate().any(|(number, layer)| {
        let is_skipped = |module: &Module| skipped.has(&format!("{LAYERS}.{number}.{}", module.path));
        let mut others = layer.linear().filter(|product| !formats.contains(&product.weight.format));
        others.any(|product| !product.modules.iter().all(is_skipped))
    });
    let message = format!(
        "quantization.{asked} has no effect on weights that are quantised in their files or come from a GGUF: they stay as \
         they are, unless quantization.requantize is \"nf4\""
    );
    others.then(|| Notice::new("quantized-already", message))
}
