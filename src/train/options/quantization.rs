//! How the base model's weights are held, under bitsandbytes' names.

use serde_json::Value;

use crate::bail;
use crate::data::notice::Notice;
use crate::error::Result;
use crate::model::{LoadOptions, SkipModules};
use crate::options::Part;

/// How the base model's linear layers are held.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct QuantizationOptions {
    /// Quantise the decoder's linear layers to NF4; otherwise they stay as the file has them. False where
    /// the config is silent, as in bitsandbytes.
    pub load_in_4bit: bool,
    /// Quantise the decoder's linear layers to LLM.int8. Outliers of activations are not taken apart: these stay f32.
    pub load_in_8bit: bool,
    /// Names of linear layers that stay as their files have them, whatever the others are quantised to. The head is never
    /// quantised, with or without its name.
    pub llm_int8_skip_modules: Option<Vec<String>>,
    /// What a GGUF, or what bitsandbytes quantised, is quantised to again; `None` keeps its own bits.
    pub requantize: Option<Requantize>,
    /// Quantise the block scales themselves to 8 bits.
    pub bnb_4bit_use_double_quant: bool,
    pub bnb_4bit_compute_dtype: ComputeDtype,
    /// What is worth knowing of these options.
    #[serde(skip)]
    pub notices: Vec<Notice>,
}

/// What quantised weights may be quantised to again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Requantize {
    Nf4,
}

/// What the values of an NF4 weight may be rounded to before they are multiplied. Everything else,
/// sums too, is f32 either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ComputeDtype {
    /// To f16, where the GPU has it and is found to be faster with it.
    #[default]
    Float16,
    Float32,
}

impl QuantizationOptions {
    /// Reads the `quantization` part; null is an empty part.
    pub fn from_json(value: &Value) -> Result<Self> {
        let mut part = Part::new("quantization", value)?;
        let load_in_4bit = part.take("load_in_4bit", false)?;
        let quant_type: String = part.take("bnb_4bit_quant_type", "nf4".to_string())?;
        let bnb_4bit_use_double_quant = part.take("bnb_4bit_use_double_quant", false)?;
        let mut notices = Vec::new();
        let dtype: String = part.take("bnb_4bit_compute_dtype", "float16".to_string())?;
        // torch's own names of its dtypes, as BitsAndBytesConfig writes some of them.
        let bnb_4bit_compute_dtype = match dtype.strip_prefix("torch.").unwrap_or(&dtype) {
            "float16" => ComputeDtype::Float16,
            "float32" => ComputeDtype::Float32,
            "bfloat16" => {
                let message = "quantization.bnb_4bit_compute_dtype is \"bfloat16\", which GPUs do not offer here: \
                               everything is computed in 32 bits";
                notices.push(Notice::new("computed-in-float32", message));
                ComputeDtype::Float32
            }
            _ => bail!(
                BadOption,
                "quantization.bnb_4bit_compute_dtype is {dtype:?}, but must be \"float16\", \"float32\" or \
                 \"bfloat16\""
            ),
        };
        part.only("quant_method", &["bitsandbytes".into()])?;
        let load_in_8bit = part.take("load_in_8bit", false)?;
        if load_in_4bit && load_in_8bit {
            bail!(
                BadOption,
                "quantization.load_in_4bit and quantization.load_in_8bit are both true; set one of them"
            );
        }
        let llm_int8_skip_modules: Option<Vec<String>> = part.take("llm_int8_skip_modules", None)?;
        let requantize: Option<String> = part.take("requantize", None)?;
        let requantize = match requantize.as_deref() {
            None => None,
            Some("nf4") => Some(Requantize::Nf4),
            Some(other) => {
                bail!(BadOption, "quantization.requantize is {other:?}, but must be \"nf4\" or null")
            }
        };
        part.only("llm_int8_enable_fp32_cpu_offload", &[false.into()])?;
        part.only("_load_in_4bit", &[load_in_4bit.into()])?;
        part.only("_load_in_8bit", &[load_in_8bit.into()])?;
        // What bitsandbytes packs codes into, and what it does where weights have 8 bits.
        part.ignore(&["bnb_4bit_quant_storage", "llm_int8_has_fp16_weight", "llm_int8_threshold"]);
        part.finish()?;
        let unused = quant_type == "fp4" && !load_in_4bit;
        if quant_type != "nf4" && !unused {
            bail!(
                BadOption,
                "quantization.bnb_4bit_quant_type is {quant_type:?}, but only \"nf4\" is supported"
            );
        }
        let options = QuantizationOptions {
            load_in_4bit,
            load_in_8bit,
            llm_int8_skip_modules,
            requantize,
            bnb_4bit_use_double_quant,
            bnb_4bit_compute_dtype,
            notices,
        };
        options.load_options()?;
        Ok(options)
    }

    /// What of these options decides how a model is loaded.
    ///
    /// # Errors
    ///
    /// Code `bad-option` for a name of `llm_int8_skip_modules` that cannot be read.
    pub fn load_options(&self) -> Result<LoadOptions> {
        Ok(LoadOptions {
            load_in_4bit: self.load_in_4bit,
            load_in_8bit: self.load_in_8bit,
            double_quant: self.bnb_4bit_use_double_quant,
            requantizes: self.requantize.is_some(),
            skip_modules: SkipModules::new(self.llm_int8_skip_modules.as_deref().unwrap_or_default())?,
        })
    }
}
