//! The folder that Hugging Face PEFT writes and reads: `adapter_config.json` and
//! `adapter_model.safetensors`.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::{Map, Value, json};
use xxhash_rust::xxh3::Xxh3;

use super::config::WITHOUT_EFFECT;
use super::targets::last_names;
use super::{Adaptable, AdapterTensor, LoraConfig, LoraModule, Side, TargetModules, row_pieces};
use crate::bail;
use crate::error::{Code, Context, Error, Result};
use crate::files::{Files, Outside};
use crate::format::{TensorInfo, read_header, read_rows, read_small};

pub const ADAPTER_CONFIG: &str = "adapter_config.json";
pub const ADAPTER_WEIGHTS: &str = "adapter_model.safetensors";

const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Tensors of the base that PEFT may save beside the adapter. The second is the embedding of a model that sees pictures
/// too.
const OF_BASE: [&str; 3] =
    ["model.embed_tokens.weight", "model.language_model.embed_tokens.weight", "lm_head.weight"];

/// What keeps PEFT from adapting the part of a model that sees pictures, whose modules have the names of the
/// text's. A string is a regular expression for whole paths.
const NO_PICTURES: &str = ".*vision_tower.*";
/// Is in the paths of the modules that see pictures.
const OF_PICTURES: &str = ".vision_tower.";
/// Is in the paths of the text's modules of such a model.
const OF_TEXT: &str = ".language_model.";

/// What PEFT puts before a module's path in the base model.
const PREFIX: &str = "base_model.model.";

/// The two matrices of a module, f32, little-endian.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Factor {
    pub a: Outside,
    pub b: Outside,
}

/// An adapter as read from its folder.
#[derive(Clone, Debug, PartialEq)]
pub struct PeftAdapter {
    pub config: LoraConfig,
    pub base_model_name_or_path: Option<String>,
    /// By the path of the module, e.g. `model.layers.0.self_attn.q_proj`: one for each module that
    /// the config names, and no other.
    pub weights: BTreeMap<String, Factor>,
    /// What else it holds, f32, little-endian, by the names of [`AdapterTensor`].
    pub others: BTreeMap<String, Outside>,
    /// Embedding and head of the base, which PEFT saves too where it suspects that the vocabulary grew, each
    /// with its name in the base. They have not been read.
    pub of_base: Vec<(&'static str, TensorInfo)>,
}

impl PeftAdapter {
    /// Depends on the values alone.
    pub fn fingerprint(&self) -> String {
        let mut hash = Xxh3::new();
        for (path, Factor { a, b }) in &self.weights {
            hash.update(path.as_bytes());
            for piece in a.pieces().chain(b.pieces()) {
                hash.update(&piece);
            }
        }
        for (name, values) in &self.others {
            hash.update(name.as_bytes());
            values.pieces().for_each(|piece| hash.update(&piece));
        }
        format!("{:032x}", hash.digest128())
    }

    /// Rows of one of the matrices of a module that the config names.
    pub fn rows(&self, module: &LoraModule, side: Side, rows: Range<usize>) -> Vec<f32> {
        let Factor { a, b } = &self.weights[&module.path];
        let [_, cols] = module.shape(side, self.config.rank_of(module));
        values(if side == Side::A { a } else { b }, rows, cols)
    }

    /// Rows of `cols` values of a tensor that is none of LoRA's matrices; `None` where there is none of the name.
    pub fn other_rows(&self, name: &str, rows: Range<usize>, cols: usize) -> Option<Vec<f32>> {
        self.others.get(name).map(|bytes| values(bytes, rows, cols))
    }

    /// Rows of a tensor that the config calls for.
    pub fn tensor_rows(&self, tensor: &AdapterTensor, rows: Range<usize>) -> Vec<f32> {
        match &tensor.factor {
            Some((module, side)) => self.rows(module, *side, rows),
            None => values(&self.others[&tensor.name], rows, tensor.size()[1]),
        }
    }
}

/// Rows of `cols` values.
fn values(bytes: &Outside, rows: Range<usize>, cols: usize) -> Vec<f32> {
    let bytes = bytes.read(4 * rows.start * cols..4 * rows.end * cols);
    bytes.as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

/// The two files of an adapter of `model` by name; weights are F32. `rows` gives rows of each of its tensors.
///
/// # Errors
///
/// `bad-option` for a config that means what the model has not; `not-finite`, naming the tensor; `internal` when rows have
/// another length than the tensor's; what `rows` fails with.
pub async fn save_peft(
    config: &LoraConfig,
    base_model_name_or_path: Option<&str>,
    model: &Adaptable,
    mut rows: impl AsyncFnMut(&AdapterTensor, Range<usize>) -> Result<Vec<f32>>,
) -> Result<BTreeMap<String, Outside>> {
    let mut tensors = config.tensors(model)?;
    // As the crate `safetensors` lays them out: by name.
    tensors.sort_by(|one, other| one.name.cmp(&other.name));
    let mut file = Outside::default();
    file.push(&header(&tensors));
    for tensor in &tensors {
        let [count, cols] = tensor.size();
        for piece in row_pieces(count, cols) {
            let wanted = piece.len() * cols;
            let values = rows(tensor, piece).await?;
            if values.len() != wanted {
                bail!(Internal, "{}: {} values came for {wanted}", tensor.name, values.len());
            }
            if !values.iter().all(|value| value.is_finite()) {
                bail!(NotFinite, "the adapter's values of {} are not finite", tensor.name);
            }
            file.push(&values.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>());
        }
    }
    let modules = config.resolve(&model.linears)?;
    let json = serde_json::to_vec_pretty(&config_json(config, &modules, base_model_name_or_path))
        .map_err(|error| Error::new(Code::Internal, error))?;
    let mut config = Outside::default();
    config.push(&json);
    Ok([(ADAPTER_CONFIG.to_owned(), config), (ADAPTER_WEIGHTS.to_owned(), file)].into())
}

/// The length of the header and the header of a safetensors file. The crate's writer wants the whole file in memory.
fn header(tensors: &[AdapterTensor]) -> Vec<u8> {
    let mut entries = Map::new();
    // transformers and PEFT look for this entry.
    entries.insert("__metadata__".to_owned(), json!({"format": "pt"}));
    let mut end = 0;
    for AdapterTensor { name, shape, .. } in tensors {
        let start = end;
        end += 4 * shape.iter().product::<usize>() as u64;
        let entry = json!({"dtype": "F32", "shape": shape, "data_offsets": [start, end]});
        entries.insert(format!("{PREFIX}{name}"), entry);
    }
    let mut json = Value::Object(entries).to_string().into_bytes();
    json.resize(json.len().next_multiple_of(8), b' ');
    [&(json.len() as u64).to_le_bytes()[..], &json].concat()
}

fn config_json(config: &LoraConfig, modules: &[&LoraModule], base_model_name_or_path: Option<&str>) -> Value {
    let targets = match &config.target_modules {
        // PEFT takes "all-linear" too, but only where it knows the model's class.
        TargetModules::AllLinear => json!(last_names(modules.iter().copied())),
        TargetModules::Names(names) => json!(names),
        TargetModules::Pattern(pattern) => json!(pattern),
    };
    let sees_pictures = modules.iter().any(|module| module.path.contains(OF_TEXT));
    let excluded = match &config.exclude_modules {
        None => json!(sees_pictures.then_some(NO_PICTURES)),
        // What PEFT would find in the part that sees pictures has to be left out too.
        Some(TargetModules::Pattern(pattern)) if sees_pictures => json!(format!("{NO_PICTURES}|{pattern}")),
        Some(TargetModules::Names(names)) if sees_pictures => {
            let names: Vec<String> =
                names.iter().map(|name| fancy_regex::escape(name).into_owned()).collect();
            json!(format!(r"{NO_PICTURES}|(.*\.)?({})", names.join("|")))
        }
        Some(excluded) => json!(excluded),
    };
    // PEFT declares alpha an integer and writes it as one.
    let alpha = match config.lora_alpha {
        alpha if alpha.fract() == 0.0 && alpha < f64::from(u32::MAX) => json!(alpha as u32),
        alpha => json!(alpha),
    };
    json!({
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_model_name_or_path,
        "revision": null,
        "auto_mapping": null,
        "inference_mode": true,
        "r": config.r,
        "lora_alpha": alpha,
        "lora_dropout": config.lora_dropout,
        "target_modules": targets,
        "exclude_modules": excluded,
        "bias": config.bias,
        "use_rslora": config.use_rslora,
        "use_dora": config.use_dora,
        "fan_in_fan_out": false,
        "init_lora_weights": config.init_lora_weights,
        "modules_to_save": (!config.modules_to_save.is_empty()).then_some(&config.modules_to_save),
        "rank_pattern": config.rank_pattern,
        "alpha_pattern": config.alpha_pattern,
        "layers_to_transform": config.layers_to_transform,
        "layers_pattern": config.layers_pattern,
        "layer_replication": null,
        "megatron_config": null,
        "megatron_core": "megatron.core",
        "loftq_config": {},
    })
}

/// Reads an adapter for `model`. F16 and BF16 weights become f32.
///
/// # Errors
///
/// Code `bad-adapter`, naming the file and the field or tensor, when a file is missing, truncated or
/// inconsistent, when the adapter uses a feature of PEFT that tabtune has not, or when its tensors
/// are not exactly those that its config and the model call for.
pub async fn load_peft(files: &dyn Files, model: &Adaptable) -> Result<PeftAdapter> {
    load(files, model).await.map_err(|mut error| {
        // The readers of `format` blame the model.
        if matches!(error.code, Code::BadModel | Code::BadOption) {
            error.code = Code::BadAdapter;
        }
        error
    })
}

async fn load(files: &dyn Files, model: &Adaptable) -> Result<PeftAdapter> {
    let Some(json) = read_small(files, ADAPTER_CONFIG, MAX_CONFIG_BYTES).await? else {
        bail!(BadAdapter, "{ADAPTER_CONFIG} is missing");
    };
    let fields: Map<String, Value> = serde_json::from_slice(&json)
        .map_err(|error| Error::new(Code::BadAdapter, format!("{ADAPTER_CONFIG}: {error}")))?;
    let mut config = parse_config(&fields).context(ADAPTER_CONFIG)?;
    let sees_pictures = model.linears.iter().any(|module| module.path.contains(OF_TEXT));
    if sees_pictures {
        config.target_modules.only_of(&model.linears);
    }
    let wanted = config.tensors(model).context(ADAPTER_CONFIG)?;

    let mut tensors: BTreeMap<String, TensorInfo> = read_header(files, ADAPTER_WEIGHTS)
        .await?
        .into_iter()
        .filter(|tensor| !(sees_pictures && tensor.name.contains(OF_PICTURES)))
        .map(|tensor| (if sees_pictures { text_name(&tensor.name) } else { tensor.name.clone() }, tensor))
        .collect();
    let (mut weights, mut others) = (BTreeMap::<String, Factor>::new(), BTreeMap::new());
    for AdapterTensor { name, shape, factor } in wanted {
        let tensor = take(&mut tensors, &format!("{PREFIX}{name}"), &shape)?;
        let mut values = Vec::new();
        let mut to = Outside::default();
        for rows in row_pieces(tensor.rows(), tensor.row_elements()) {
            read_rows(files, &tensor, rows.start, rows.len(), &mut values).await?;
            to.push(&values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
        }
        match factor {
            Some((module, Side::A)) => weights.entry(module.path).or_default().a = to,
            Some((module, Side::B)) => weights.entry(module.path).or_default().b = to,
            None => {
                others.insert(name, to);
            }
        }
    }
    let of_base = OF_BASE.iter().filter_map(|&name| {
        let tensor = tensors.remove(&format!("{PREFIX}{name}"))?;
        Some((name, tensor))
    });
    let of_base = of_base.collect();
    if let Some(name) = tensors.keys().next() {
        bail!(
            BadAdapter,
            "{ADAPTER_WEIGHTS}: tensor {name} belongs to no module that {ADAPTER_CONFIG} targets"
        );
    }
    let base_model_name_or_path =
        fields.get("base_model_name_or_path").and_then(Value::as_str).map(str::to_owned);
    Ok(PeftAdapter { config, base_model_name_or_path, weights, others, of_base })
}

/// The name that PEFT gives a tensor today which it wrote on transformers before 4.52, where the text part of a model
/// that sees pictures too was a whole model of its own.
fn text_name(name: &str) -> String {
    let Some(of_text) = name.strip_prefix(PREFIX).and_then(|path| path.strip_prefix("language_model."))
    else {
        return name.to_owned();
    };
    match of_text.strip_prefix("model.") {
        Some(path) => format!("{PREFIX}model{OF_TEXT}{path}"),
        None => format!("{PREFIX}{of_text}"),
    }
}

fn take(tensors: &mut BTreeMap<String, TensorInfo>, name: &str, shape: &[usize]) -> Result<TensorInfo> {
    let Some(tensor) = tensors.remove(name) else {
        bail!(BadAdapter, "{ADAPTER_WEIGHTS}: tensor {name} {shape:?} is missing");
    };
    if tensor.shape != shape {
        let found = &tensor.shape;
        bail!(
            BadAdapter,
            "{ADAPTER_WEIGHTS}: tensor {name}: shape {found:?}, but config and model want {shape:?}"
        );
    }
    Ok(tensor)
}

/// Takes what tabtune knows from the fields of `adapter_config.json` and refuses what would change
/// the adapter's meaning: whatever tabtune doesn't know must be off.
fn parse_config(fields: &Map<String, Value>) -> Result<LoraConfig> {
    if fields.get("peft_type").and_then(Value::as_str) != Some("LORA") {
        let found = fields.get("peft_type").unwrap_or(&Value::Null);
        bail!(BadAdapter, "peft_type is {found}, only \"LORA\" is supported");
    }
    for required in ["r", "lora_alpha", "target_modules"] {
        if !fields.contains_key(required) {
            bail!(BadAdapter, "{required} is missing");
        }
    }
    let mut known = Map::new();
    for (name, value) in fields {
        match name.as_str() {
            // The named variants below draw other first values; those not listed change the base weights.
            "init_lora_weights" if value == "orthogonal" => continue,
            "exclude_modules" if value == NO_PICTURES => continue,
            "r"
            | "lora_alpha"
            | "lora_dropout"
            | "target_modules"
            | "use_rslora"
            | "init_lora_weights"
            | "exclude_modules"
            | "layers_to_transform"
            | "layers_pattern"
            | "rank_pattern"
            | "alpha_pattern"
            | "modules_to_save"
            | "use_dora"
            | "ensure_weight_tying"
            | "bias" => {
                known.insert(name.clone(), value.clone());
                continue;
            }
            "peft_type" => continue,
            "task_type" if value.is_null() || value == "CAUSAL_LM" => continue,
            ignored if WITHOUT_EFFECT.contains(&ignored) => continue,
            _ => {}
        }
        let off = match value {
            Value::Null | Value::Bool(false) => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(entries) => entries.is_empty(),
            _ => false,
        };
        if !off {
            bail!(BadAdapter, "{name} {value} is not supported");
        }
    }
    LoraConfig::from_json(&Value::Object(known))
}
