//! What of a model an adapter changes beside its linear layers: PEFT's `modules_to_save` and `bias` (`_set_trainable` in
//! `peft/utils/other.py`, `_mark_only_adapters_as_trainable` in `peft/tuners/tuners_utils.py`).

use serde::{Deserialize, Serialize};

use super::targets::last_names;
use super::{LoraConfig, LoraModule};
use crate::bail;
use crate::error::Result;

/// Which biases of the model learn beside the adapter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bias {
    #[default]
    None,
    All,
    /// Those of the layers that the adapter adapts.
    LoraOnly,
}

/// What of a model an adapter may change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adaptable {
    /// The decoder's linear layers, without the head.
    pub linears: Vec<LoraModule>,
    /// The weights of all other modules, and the biases.
    pub others: Vec<BaseTensor>,
}

/// A tensor of the model that PEFT adapts: the weight of a module that is no linear layer of the decoder, or a bias.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseTensor {
    /// E.g. `model.norm.weight`.
    pub name: String,
    pub shape: Vec<usize>,
}

impl BaseTensor {
    /// The path of the module, and whether the tensor is its bias.
    fn module(&self) -> (&str, bool) {
        let (path, kind) = self.name.rsplit_once('.').unwrap_or(("", &self.name));
        (path, kind == "bias")
    }
}

impl LoraConfig {
    /// Whether the adapter is more than the factors of LoRA that a product adds: then the model without it is another
    /// one, and not the same one with the factors scaled by zero.
    pub fn changes_model(&self) -> bool {
        self.use_dora || !self.modules_to_save.is_empty() || self.bias != Bias::None
    }

    /// The tensors of the model that learn beside the adapter, each with its name in the adapter's file.
    ///
    /// # Errors
    ///
    /// Code `bad-option` for a name in `modules_to_save` that no module has, or a linear layer; as [`LoraConfig::resolve`].
    pub fn saved<'a>(&self, model: &'a Adaptable) -> Result<Vec<(&'a BaseTensor, String)>> {
        for name in &self.modules_to_save {
            expect_savable(name, model)?;
        }
        let targets = self.resolve(&model.linears)?;
        let mut saved = Vec::new();
        for tensor in &model.others {
            let (path, is_bias) = tensor.module();
            if !is_bias {
                // PEFT compares ends of paths alone: "norm" means `q_norm` too.
                if self.modules_to_save.iter().any(|name| path.ends_with(name.as_str())) {
                    saved.push((tensor, tensor.name.clone()));
                }
                continue;
            }
            let is_adapted = targets.iter().any(|module| module.path == path);
            match self.bias {
                Bias::None => {}
                Bias::LoraOnly | Bias::All if is_adapted => {
                    saved.push((tensor, format!("{path}.base_layer.bias")));
                }
                Bias::LoraOnly => {}
                Bias::All => saved.push((tensor, tensor.name.clone())),
            }
        }
        Ok(saved)
    }
}

/// Makes sure that a name of `modules_to_save` means modules that can be saved, and none but those.
fn expect_savable(name: &str, model: &Adaptable) -> Result<()> {
    let of_linears = model.linears.iter().find(|module| is_in(&module.path, name));
    if let Some(module) = of_linears {
        bail!(
            BadOption,
            "lora.modules_to_save: {name:?} means a linear layer of the decoder, {}, or what holds it, which learns by an \
             adapter alone: put {:?} into lora.target_modules, or train all weights with train.finetuning_type \"full\"",
            module.path,
            last_names([module])[0]
        );
    }
    let weights = model.others.iter().map(BaseTensor::module).filter(|(_, is_bias)| !is_bias);
    if !weights.clone().any(|(path, _)| !name.is_empty() && path.ends_with(name)) {
        let mut there: Vec<&str> = Vec::new();
        for (path, _) in weights {
            let last = path.rsplit('.').next().unwrap_or_default();
            if !there.contains(&last) {
                there.push(last);
            }
        }
        bail!(
            BadOption,
            "lora.modules_to_save: {name:?} is the end of no module's path; take some of {}",
            there.join(", ")
        );
    }
    Ok(())
}

/// Whether a module or one that holds it has a path that ends with `name`.
fn is_in(path: &str, name: &str) -> bool {
    let holders = path.match_indices('.').map(|(end, _)| &path[..end]);
    !name.is_empty() && holders.chain([path]).any(|path| path.ends_with(name))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn model() -> Adaptable {
        let linear = |path: &str| LoraModule { path: path.into(), in_features: 8, out_features: 8 };
        let tensor = |name: &str| BaseTensor { name: name.into(), shape: vec![8] };
        Adaptable {
            linears: ["q_proj", "k_proj"].map(|name| linear(&format!("model.layers.0.attn.{name}"))).into(),
            others: [
                "model.embed_tokens.weight",
                "model.layers.0.input_layernorm.weight",
                "model.layers.0.attn.q_proj.bias",
                "model.layers.0.attn.k_proj.bias",
                "model.norm.weight",
                "lm_head.weight",
            ]
            .map(tensor)
            .into(),
        }
    }

    fn saved(options: Value) -> Result<Vec<String>> {
        let mut all = json!({"target_modules": ["q_proj"]});
        all.as_object_mut().unwrap().extend(options.as_object().unwrap().clone());
        let saved = LoraConfig::from_json(&all)?.saved(&model())?.into_iter().map(|(_, name)| name).collect();
        Ok(saved)
    }

    #[test]
    fn modules_are_meant_by_the_ends_of_their_paths() {
        let of = |names: Value| saved(json!({"modules_to_save": names})).unwrap();
        assert_eq!(of(json!(["norm"])), ["model.layers.0.input_layernorm.weight", "model.norm.weight"]);
        assert_eq!(of(json!(["lm_head", "tokens"])), ["model.embed_tokens.weight", "lm_head.weight"]);
        assert_eq!(of(json!([])), [""; 0]);
        assert_eq!(of(Value::Null), [""; 0]);
    }

    #[test]
    fn biases_of_adapted_layers_lie_in_their_base() {
        let of = |bias: &str| saved(json!({"bias": bias})).unwrap();
        assert_eq!(of("none"), [""; 0]);
        assert_eq!(of("lora_only"), ["model.layers.0.attn.q_proj.base_layer.bias"]);
        let all = ["model.layers.0.attn.q_proj.base_layer.bias", "model.layers.0.attn.k_proj.bias"];
        assert_eq!(of("all"), all);
    }

    #[test]
    fn what_cannot_be_saved_is_refused_by_name() {
        for (options, texts) in [
            (json!({"modules_to_save": ["k_proj"]}), ["\"k_proj\"", "target_modules"]),
            (json!({"modules_to_save": ["attn"]}), ["\"attn\"", "linear layer"]),
            (json!({"modules_to_save": ["layers.0"]}), ["\"layers.0\"", "linear layer"]),
            (
                json!({"modules_to_save": ["score"]}),
                ["\"score\"", "embed_tokens, input_layernorm, norm, lm_head"],
            ),
            (json!({"modules_to_save": [""]}), ["\"\"", "no module"]),
            (json!({"modules_to_save": "norm"}), ["lora.modules_to_save", "norm"]),
            (json!({"bias": "some"}), ["lora.bias", "some"]),
            (
                json!({"modules_to_save": ["norm"], "ensure_weight_tying": true}),
                ["ensure_weight_tying", "true"],
            ),
        ] {
            let error = saved(options).unwrap_err();
            assert_eq!(error.code, crate::error::Code::BadOption);
            assert!(texts.iter().all(|text| error.message.contains(text)), "{error}");
        }
        saved(json!({"ensure_weight_tying": true})).unwrap();
    }
}
