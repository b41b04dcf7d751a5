use std::collections::BTreeMap;

use pollster::block_on;
use proptest::prelude::*;
use serde_json::{Value, json};
use tabtune::adapter::{
    ADAPTER_CONFIG, ADAPTER_WEIGHTS, Adaptable, AdapterTensor, Factor, LoraConfig, LoraModule, LoraRng,
    LoraWeights, PeftAdapter, Side, TargetModules, load_peft, row_pieces, save_peft,
};
use tabtune::error::{Code, Result};
use tabtune::files::{Outside, PIECE_BYTES};
use tabtune::format::{Checkpoint, TensorInfo, read_rows};
use tabtune::model::{Architecture, adaptable};

use super::files::{MemoryFiles, assert_refused, safetensors_file};

/// Two layers of q_proj [8 -> 12] and mlp.up_proj [8 -> 20].
fn small_model() -> Vec<LoraModule> {
    let module = |layer: usize, path: &str, out_features| LoraModule {
        path: format!("model.layers.{layer}.{path}"),
        in_features: 8,
        out_features,
    };
    (0..2)
        .flat_map(|layer| [module(layer, "self_attn.q_proj", 12), module(layer, "mlp.up_proj", 20)])
        .collect()
}

/// The same as the text part of a model that sees pictures too.
fn text_of_pictures() -> Vec<LoraModule> {
    let of_text = |module: LoraModule| LoraModule {
        path: module.path.replace("model.layers", "model.language_model.layers"),
        ..module
    };
    small_model().into_iter().map(of_text).collect()
}

/// A model of these linear layers and nothing else.
fn of(linears: Vec<LoraModule>) -> Adaptable {
    Adaptable { linears, others: Vec::new() }
}

fn small_config() -> LoraConfig {
    LoraConfig::from_json(&json!({"r": 2, "lora_alpha": 3, "target_modules": ["q_proj", "up_proj"]})).unwrap()
}

fn small_weights() -> BTreeMap<String, LoraWeights> {
    let mut rng = LoraRng::new(5);
    let pair = |module: &LoraModule| {
        let a = rng.first_rows(&of_rank(2), module, Side::A, 0..2);
        let b = (0..module.out_features * 2).map(|i| i as f32 - 3.5).collect();
        (module.path.clone(), LoraWeights { a, b })
    };
    small_model().iter().map(pair).collect()
}

/// The files of an adapter whose matrices are whole on the host.
fn saved(
    config: &LoraConfig,
    base: Option<&str>,
    weights: &BTreeMap<String, LoraWeights>,
) -> Result<MemoryFiles> {
    let rows = async |tensor: &AdapterTensor, rows| {
        let (module, side) = tensor.factor.as_ref().expect("the adapter has factors alone");
        Ok(weights[&module.path].rows(module, *side, rows))
    };
    block_on(save_peft(config, base, &of(small_model()), rows)).map(in_memory)
}

fn in_memory(files: BTreeMap<String, Outside>) -> MemoryFiles {
    MemoryFiles(files.into_iter().map(|(name, bytes)| (name, bytes.to_vec())).collect())
}

fn values(outside: &Outside) -> Vec<f32> {
    outside.to_vec().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
}

fn small_adapter() -> MemoryFiles {
    saved(&small_config(), Some("base"), &small_weights()).unwrap()
}

fn of_rank(r: usize) -> LoraConfig {
    LoraConfig { r, ..LoraConfig::default() }
}

fn load(files: &MemoryFiles) -> Result<PeftAdapter> {
    block_on(load_peft(files, &of(small_model())))
}

#[test]
fn options_have_the_defaults_of_peft() {
    let config = LoraConfig::from_json(&json!({})).unwrap();
    assert_eq!((config.r, config.lora_alpha, config.lora_dropout, config.use_rslora), (8, 8.0, 0.0, false));
    assert_eq!(config.target_modules, TargetModules::Names(vec!["q_proj".into(), "v_proj".into()]));
    let module = &small_model()[0];
    assert_eq!(config.scale_of(module), 1.0);
    let rs = LoraConfig { r: 16, lora_alpha: 8.0, use_rslora: true, ..config };
    let plain = LoraConfig { use_rslora: false, ..rs.clone() };
    assert_eq!((rs.scale_of(module), plain.scale_of(module)), (2.0, 0.5));
}

#[test]
fn wrong_options_are_refused_by_name() {
    let cases = [
        (json!({"rank": 8}), "rank"),
        (json!({"r": 0}), "lora.r"),
        (json!({"r": 513}), "lora.r"),
        (json!({"r": -1}), "lora.r"),
        (json!({"r": 2.5}), "lora.r"),
        (json!({"lora_alpha": 0}), "lora.lora_alpha"),
        (json!({"lora_alpha": "8"}), "lora.lora_alpha"),
        (json!({"lora_dropout": 1.0}), "lora.lora_dropout"),
        (json!({"lora_dropout": -0.1}), "lora.lora_dropout"),
        (json!({"target_modules": "(q_proj"}), "lora.target_modules"),
        (json!({"target_modules": 1}), "lora.target_modules"),
        (json!({"target_modules": []}), "lora.target_modules"),
        (json!({"target_modules": [1]}), "lora.target_modules"),
        (json!({"use_rslora": 1}), "lora.use_rslora"),
        (json!([]), "lora"),
    ];
    for (options, name) in cases {
        assert_refused(LoraConfig::from_json(&options), Code::BadOption, &[name]);
    }
}

#[test]
fn targets_match_whole_path_components() {
    let model = small_model();
    let resolve = |targets: Value| {
        let config = LoraConfig::from_json(&json!({"target_modules": targets})).unwrap();
        let modules = config.resolve(&model)?;
        Ok(modules.iter().map(|module| module.path.as_str()).collect::<Vec<_>>())
    };
    assert_eq!(resolve(json!("all-linear")).unwrap().len(), 4);
    let up = ["model.layers.0.mlp.up_proj", "model.layers.1.mlp.up_proj"];
    assert_eq!(resolve(json!(["up_proj"])).unwrap(), up);
    assert_eq!(resolve(json!(["mlp.up_proj", "up_proj"])).unwrap(), up);
    assert_eq!(resolve(json!(["model.layers.1.mlp.up_proj"])).unwrap(), up[1..]);
    for unknown in ["proj", "p_proj", "lm_head", "", "mlp"] {
        assert_refused(resolve(json!(["up_proj", unknown])), Code::BadOption, &[&format!("{unknown:?}")]);
    }
}

/// As `re.fullmatch` of Python has it, which PEFT asks.
#[test]
fn a_pattern_means_the_modules_whose_whole_path_it_matches() {
    let resolve = |model: &[LoraModule], pattern: &str| {
        let config = LoraConfig::from_json(&json!({"target_modules": pattern})).unwrap();
        let modules = config.resolve(model)?;
        Ok(modules.iter().map(|module| module.path.clone()).collect::<Vec<_>>())
    };
    let paths = |numbers: &[usize], name: &str| -> Vec<String> {
        numbers.iter().map(|number| format!("model.layers.{number}.{name}")).collect()
    };
    let model = small_model();
    let all: Vec<String> = model.iter().map(|module| module.path.clone()).collect();
    for (pattern, want) in [
        (".*_proj", all.clone()),
        ("All-Linear", all.clone()),
        (r".*\.(q|v)_proj", paths(&[0, 1], "self_attn.q_proj")),
        (r"model\.layers\.1\.mlp\.up_proj$", paths(&[1], "mlp.up_proj")),
        (r"^(?!.*self_attn).*layers\.(?P<number>\d+)\..*_proj", paths(&[0, 1], "mlp.up_proj")),
        (r"(?i).*\.1\..*Q_PROJ|.*\.0\.mlp\.up_proj", vec![all[1].clone(), all[2].clone()]),
    ] {
        assert_eq!(resolve(&model, pattern).unwrap(), want, "{pattern}");
    }
    for (pattern, why) in [
        ("q_proj", "no linear layer, such as model.layers.0.self_attn.q_proj"),
        ("", "no linear layer"),
        (".*(q_proj|lm_head)", "matches lm_head too"),
        (r"model\.layers\.0\..*", "matches model.layers.0.self_attn too"),
        (".*", "matches model.embed_tokens too"),
        (r"((.*)*)*\1{9}x", "against model.layers.0.self_attn.q_proj"),
    ] {
        let parts = ["lora.target_modules", why];
        assert_refused(resolve(&model, pattern), Code::BadOption, &parts);
    }
    let names = resolve(&model, "q_proj").unwrap_err().message;
    assert!(names.ends_with("take a list of some of q_proj, up_proj, or \"all-linear\""), "{names}");

    // As Unsloth writes it for models that see pictures too.
    let unsloth = r"(?:.*?(?:language|text).*?(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense).*?(?:q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj).*?)|(?:\bmodel\.layers\.[\d]{1,}\.(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense)\.(?:(?:q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)))";
    for model in [small_model(), text_of_pictures()] {
        assert_eq!(resolve(&model, unsloth).unwrap().len(), model.len());
    }
}

#[test]
fn a_pattern_is_read_and_written_as_peft_does() {
    let pattern = json!(r".*\.(q|up)_proj");
    let config = LoraConfig::from_json(&json!({"r": 2, "lora_alpha": 3, "target_modules": pattern})).unwrap();
    let files = saved(&config, None, &small_weights()).unwrap();
    let written: Value = serde_json::from_slice(&files.0[ADAPTER_CONFIG]).unwrap();
    assert_eq!(written["target_modules"], pattern);
    let adapter = load(&files).unwrap();
    assert_eq!((adapter.config, adapter.weights.len()), (config, 4));
    assert_eq!(serde_json::to_value(TargetModules::Pattern("a".into())).unwrap(), json!("a"));
}

/// Embedding and head that PEFT saves too, by the names that it has for them on transformers 5 and before 4.52.
#[test]
fn tensors_of_the_base_beside_the_adapter_of_a_text_part_are_known() {
    let of_base = |layers: &str, embedding: &str, head: &str| {
        let mut files = small_adapter();
        let file = files.0.get_mut(ADAPTER_WEIGHTS).unwrap();
        let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
        let header = String::from_utf8(file[8..8 + length].to_vec()).unwrap();
        let mut header: Value = serde_json::from_str(&header.replace("model.model.layers", layers)).unwrap();
        for name in [embedding, head, "base_model.model.model.vision_tower.head.lora_A.weight"] {
            header[name] = json!({"dtype": "F32", "shape": [0], "data_offsets": [0, 0]});
        }
        *file = safetensors_file(&header.to_string(), &file[8 + length..]);
        let adapter = block_on(load_peft(&files, &of(text_of_pictures())));
        adapter.map(|adapter| adapter.of_base.iter().map(|(name, _)| *name).collect::<Vec<_>>())
    };
    let want = ["model.language_model.embed_tokens.weight", "lm_head.weight"];
    let now = of_base(
        "model.model.language_model.layers",
        "base_model.model.model.language_model.embed_tokens.weight",
        "base_model.model.lm_head.weight",
    );
    assert_eq!(now.unwrap(), want);
    let before = of_base(
        "model.language_model.model.layers",
        "base_model.model.language_model.model.embed_tokens.weight",
        "base_model.model.language_model.lm_head.weight",
    );
    assert_eq!(before.unwrap(), want);
    let other = "base_model.model.model.language_model.norm.weight";
    let refused = of_base("model.model.language_model.layers", other, "base_model.model.lm_head.weight");
    assert_refused(refused, Code::BadAdapter, &[ADAPTER_WEIGHTS, other]);
}

#[test]
fn first_values_are_seeded_uniform_and_zero() {
    let module = LoraModule { path: "m".into(), in_features: 100, out_features: 30 };
    let mut rng = LoraRng::new(1);
    let a = rng.first_rows(&of_rank(16), &module, Side::A, 0..16);
    assert_eq!((a.len(), rng.first_rows(&of_rank(16), &module, Side::B, 0..30)), (1600, vec![0.0; 480]));
    assert!(a.iter().all(|a| a.abs() <= 0.1));
    let mean = a.iter().sum::<f32>() / 1600.0;
    let variance = a.iter().map(|a| a * a).sum::<f32>() / 1600.0;
    // The standard errors are 0.0014 and 0.000075.
    assert!(mean.abs() < 0.006 && (variance - 0.01 / 3.0).abs() < 3e-4, "{mean} {variance}");
    // Whatever pieces they are drawn in.
    let mut rng = LoraRng::new(1);
    let pieces = [0..5, 5..6, 6..16].map(|rows| rng.first_rows(&of_rank(16), &module, Side::A, rows));
    assert_eq!(a, pieces.concat());
    assert_ne!(a, LoraRng::new(2).first_rows(&of_rank(16), &module, Side::A, 0..16));
    // The stream must never change: saved seeds stand for it.
    let narrow = LoraModule { in_features: 1, ..module };
    let first = LoraRng::new(0).first_rows(&of_rank(3), &narrow, Side::A, 0..3);
    assert_eq!(first, [0.30939424, 0.41815078, 0.45973969]);
}

#[test]
fn what_is_saved_is_loaded() {
    let adapter = load(&small_adapter()).unwrap();
    assert_eq!(adapter.config, small_config());
    assert_eq!(adapter.base_model_name_or_path.as_deref(), Some("base"));
    let pair = |factor: &Factor| LoraWeights { a: values(&factor.a), b: values(&factor.b) };
    let found: BTreeMap<String, LoraWeights> =
        adapter.weights.iter().map(|(path, factor)| (path.clone(), pair(factor))).collect();
    assert_eq!(found, small_weights());
}

#[test]
fn saved_files_have_the_names_of_peft() {
    let files = small_adapter();
    let config: Value = serde_json::from_slice(&files.0[ADAPTER_CONFIG]).unwrap();
    for (name, value) in [
        ("peft_type", json!("LORA")),
        ("task_type", json!("CAUSAL_LM")),
        ("r", json!(2)),
        ("lora_alpha", json!(3)),
        ("target_modules", json!(["q_proj", "up_proj"])),
        ("bias", json!("none")),
        ("modules_to_save", Value::Null),
        ("inference_mode", json!(true)),
    ] {
        assert_eq!(config[name], value, "{name}");
    }
    let tensors = ::safetensors::SafeTensors::deserialize(&files.0[ADAPTER_WEIGHTS]).unwrap();
    let a = tensors.tensor("base_model.model.model.layers.1.self_attn.q_proj.lora_A.weight").unwrap();
    let b = tensors.tensor("base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight").unwrap();
    assert_eq!((a.shape(), b.shape(), tensors.len()), (&[2, 8][..], &[12, 2][..], 8));
    let everywhere = LoraConfig { target_modules: TargetModules::AllLinear, ..small_config() };
    let files = saved(&everywhere, None, &small_weights()).unwrap();
    let config: Value = serde_json::from_slice(&files.0[ADAPTER_CONFIG]).unwrap();
    assert_eq!(config["target_modules"], json!(["q_proj", "up_proj"]));
}

/// PEFT wrote these adapters.
#[test]
fn fixture_adapters_are_loaded_and_saved_again() {
    let of_itself = ["llama2_bf16_dense", "mistral_f16_window", "tied_f32_odd_sizes"]
        .map(|name| (format!("models/{name}/model"), format!("models/{name}/adapter")));
    let beyond_factors = [
        ("gemma3text_f32_untied", "save_embedding_and_head"),
        ("smollm3_bf16_tied", "save_tied_embedding"),
        ("qwen3_bf16_tied", "save_norms"),
        ("qwen2_bf16_tied", "bias_lora_only"),
        ("llama_f16_biases", "bias_all"),
        ("llama_bf16_yarn", "dora"),
        ("phi3_f32_plain", "dora_fused_nf4"),
    ]
    .map(|(model, name)| (format!("families/{model}/model"), format!("ways/{name}/adapter")));
    for (model, name) in of_itself.into_iter().chain(beyond_factors) {
        let base = MemoryFiles::fixture(&model);
        let base_of = adaptable(&Architecture::from_json(&base.0["config.json"]).unwrap());
        let files = MemoryFiles::fixture(&name);
        let adapter = block_on(load_peft(&files, &base_of)).unwrap();

        let checkpoint_of = |files: &MemoryFiles| {
            let renamed = MemoryFiles::of(&[("model.safetensors", &files.0[ADAPTER_WEIGHTS])]);
            let checkpoint = block_on(Checkpoint::open(&renamed)).unwrap();
            (renamed, checkpoint.tensors)
        };
        let (renamed, tensors) = checkpoint_of(&files);
        let factors = adapter.weights.iter().flat_map(|(path, pair)| {
            [("A", &pair.a), ("B", &pair.b)]
                .map(|(matrix, values)| (format!("{path}.lora_{matrix}.weight"), values))
        });
        let others = adapter.others.iter().map(|(name, values)| (name.clone(), values));
        let held: Vec<(String, &Outside)> = factors.chain(others).collect();
        assert_eq!(tensors.len(), held.len(), "{name}");
        let mut values = Vec::new();
        for (tensor, want) in held {
            let info = &tensors[&format!("base_model.model.{tensor}")];
            block_on(read_rows(&renamed, info, 0, info.rows(), &mut values)).unwrap();
            assert_eq!(values, self::values(want), "{name}: {tensor}");
        }
        let rows = async |tensor: &AdapterTensor, rows| Ok(adapter.tensor_rows(tensor, rows));
        let saved = in_memory(block_on(save_peft(&adapter.config, Some("model"), &base_of, rows)).unwrap());
        assert_eq!(block_on(load_peft(&saved, &base_of)).unwrap(), adapter, "{name}");
        let (_, again) = checkpoint_of(&saved);
        let shapes = |tensors: &BTreeMap<String, TensorInfo>| -> Vec<(String, Vec<usize>)> {
            tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shape.clone())).collect()
        };
        assert_eq!(shapes(&again), shapes(&tensors), "{name}");
        let [config, peft] =
            [&saved, &files].map(|files| serde_json::from_slice::<Value>(&files.0[ADAPTER_CONFIG]).unwrap());
        for option in ["bias", "modules_to_save", "use_dora", "use_rslora", "r", "rank_pattern"] {
            assert_eq!(config[option], peft[option], "{name}: {option}");
        }
    }
}

/// As the crate `safetensors` writes them, to the byte.
#[test]
fn weights_lie_as_the_reference_lays_them_out() {
    let file = &small_adapter().0[ADAPTER_WEIGHTS];
    let tensors = ::safetensors::SafeTensors::deserialize(file).unwrap();
    let metadata = [("format".to_owned(), "pt".to_owned())].into_iter().collect();
    assert_eq!(*file, ::safetensors::serialize(tensors.iter(), Some(metadata)).unwrap());
}

#[test]
fn an_adapter_passes_the_host_in_pieces() {
    // Rank 256 on the widest layer of a model of seven billion parameters.
    let module = LoraModule { path: "m".into(), in_features: 11008, out_features: 11008 };
    for side in Side::BOTH {
        let [rows, cols] = module.shape(side, 256);
        let pieces: Vec<_> = row_pieces(rows, cols).collect();
        assert_eq!((pieces[0].start, pieces.last().unwrap().end), (0, rows));
        assert!(pieces.windows(2).all(|pair| pair[0].end == pair[1].start));
        assert!(pieces.iter().all(|piece| 4 * piece.len() * cols <= PIECE_BYTES), "{pieces:?}");
    }
    // Few columns lie far apart on the GPU.
    assert!(row_pieces(1 << 20, 1).all(|piece| 4 * 8 * piece.len() <= PIECE_BYTES));
}

#[test]
fn weights_that_are_not_finite_are_not_saved() {
    let mut weights = small_weights();
    weights.get_mut("model.layers.1.mlp.up_proj").unwrap().b[3] = f32::NAN;
    let refused = saved(&small_config(), None, &weights);
    assert_refused(refused, Code::NotFinite, &["model.layers.1.mlp.up_proj"]);
    let rows = async |_: &AdapterTensor, _| Ok(vec![0.0; 3]);
    let short = block_on(save_peft(&small_config(), None, &of(small_model()), rows));
    assert_refused(short, Code::Internal, &["3 values"]);
}

#[test]
fn every_truncation_is_refused() {
    let whole = small_adapter();
    for name in [ADAPTER_CONFIG, ADAPTER_WEIGHTS] {
        for length in 0..whole.0[name].len() {
            let mut files = whole.clone();
            files.0.get_mut(name).unwrap().truncate(length);
            assert_refused(load(&files), Code::BadAdapter, &[name]);
        }
        let mut files = whole.clone();
        files.0.remove(name);
        assert_refused(load(&files), Code::BadAdapter, &[name, "missing"]);
    }
}

#[test]
fn wrong_tensors_are_refused_by_name() {
    let name = "base_model.model.model.layers.0.mlp.up_proj.lora_A.weight";
    let with_header = |change: &dyn Fn(&mut Value)| {
        let mut files = small_adapter();
        let file = files.0.get_mut(ADAPTER_WEIGHTS).unwrap();
        let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
        let mut header: Value = serde_json::from_slice(&file[8..8 + length]).unwrap();
        change(&mut header);
        *file = safetensors_file(&header.to_string(), &file[8 + length..]);
        load(&files)
    };
    with_header(&|_| ()).unwrap();
    let refused = |change: &dyn Fn(&mut Value), parts: &[&str]| {
        assert_refused(with_header(change), Code::BadAdapter, &[&[ADAPTER_WEIGHTS], parts].concat());
    };
    let rename = |header: &mut Value, new: &str| {
        let entry = header.as_object_mut().unwrap().remove(name).unwrap();
        header[new] = entry;
    };
    refused(&|header| rename(header, "lora_A"), &[name, "missing"]);
    refused(&|header| header[name]["shape"] = json!([8, 2]), &[name, "[8, 2]", "[2, 8]"]);
    refused(&|header| header[name]["dtype"] = json!("I32"), &[name, "I32"]);
    refused(&|header| header[name]["dtype"] = json!("F16"), &[name, "data_offsets"]);
    refused(
        &|header| header["extra"] = json!({"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}),
        &["extra"],
    );

    let mut files = small_adapter();
    let file = files.0.get_mut(ADAPTER_WEIGHTS).unwrap();
    let end = file.len();
    file[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    assert_refused(load(&files), Code::BadAdapter, &[ADAPTER_WEIGHTS, "element 23", "NaN"]);
}

#[test]
fn unsupported_features_are_refused_by_name() {
    let with_config = |name: &str, value: Value| {
        let mut files = small_adapter();
        let mut config: Value = serde_json::from_slice(&files.0[ADAPTER_CONFIG]).unwrap();
        config[name] = value;
        files.0.insert(ADAPTER_CONFIG.to_owned(), config.to_string().into_bytes());
        load(&files)
    };
    for (name, value) in [
        ("peft_type", json!("IA3")),
        ("peft_type", Value::Null),
        ("task_type", json!("SEQ_CLS")),
        ("bias", json!("some")),
        ("use_dora", json!(1)),
        ("modules_to_save", json!(["lm_head"])),
        ("rank_pattern", json!({"q_proj": 0})),
        ("layers_to_transform", json!([7])),
        ("init_lora_weights", json!("pissa")),
        ("some_feature_of_tomorrow", json!("on")),
        ("r", json!(0)),
        ("lora_alpha", Value::Null),
        ("target_modules", json!("c_.*")),
        ("target_modules", json!(["c_attn"])),
    ] {
        assert_refused(with_config(name, value), Code::BadAdapter, &[ADAPTER_CONFIG, name]);
    }
    for (name, value) in [
        ("some_feature_of_tomorrow", json!(false)),
        ("init_lora_weights", json!("gaussian")),
        ("alpha_pattern", json!({"q_proj": 4})),
    ] {
        with_config(name, value).unwrap();
    }
    // What the config says of modules has to be what the weights have.
    for (name, value, tensor) in [
        ("rank_pattern", json!({"q_proj": 4}), "layers.0.self_attn.q_proj.lora_A.weight"),
        ("layers_to_transform", json!([0]), "layers.1."),
    ] {
        assert_refused(with_config(name, value), Code::BadAdapter, &[ADAPTER_WEIGHTS, tensor]);
    }
}

proptest! {
    #[test]
    fn damaged_files_never_panic(name in prop::sample::select(vec![ADAPTER_CONFIG, ADAPTER_WEIGHTS]), at in 0.0..1.0, byte: u8) {
        let mut files = small_adapter();
        let file = files.0.get_mut(name).unwrap();
        let position = (at * file.len() as f64) as usize;
        file[position] = byte;
        if let Err(error) = load(&files) {
            prop_assert_eq!(error.code, Code::BadAdapter);
        }
    }
}

/// A of a normal start has a deviation of 1/r, and B is zero; B of torch's own start is as wide as its rank says.
#[test]
fn first_values_are_drawn_as_they_are_named() {
    let module = LoraModule { path: "m".into(), in_features: 400, out_features: 50 };
    let of = |init: serde_json::Value| {
        let config = LoraConfig::from_json(&json!({"r": 4, "init_lora_weights": init})).unwrap();
        let mut rng = LoraRng::new(3);
        let a = rng.first_rows(&config, &module, Side::A, 0..4);
        (a, rng.first_rows(&config, &module, Side::B, 0..50))
    };
    let moment = |values: &[f32], power: i32| {
        values.iter().map(|&x| f64::from(x).powi(power)).sum::<f64>() / values.len() as f64
    };
    let (a, b) = of(json!("gaussian"));
    let deviation = moment(&a, 2).sqrt();
    assert!((deviation * 4.0 - 1.0).abs() < 0.05, "{deviation}");
    assert!(moment(&a, 1).abs() < 0.02 && (moment(&a, 4) / deviation.powi(4) - 3.0).abs() < 0.4);
    assert!(b.iter().all(|&x| x == 0.0));
    let (a, b) = of(json!(false));
    let widest = |values: &[f32]| values.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    assert!(widest(&a) <= 0.05 && widest(&b) <= 0.5 && widest(&b) > 0.45);
    assert_eq!(of(json!(true)), of(json!(null)));
    let error = LoraConfig::from_json(&json!({"init_lora_weights": "pissa"})).unwrap_err();
    assert!(error.to_string().contains("must be true, false or \"gaussian\""), "{error}");
}

/// What `check_target_module_exists` of PEFT takes, in its order.
#[test]
fn modules_are_taken_as_peft_takes_them() {
    let linears: Vec<LoraModule> = (0..3)
        .flat_map(|layer| ["self_attn.q_proj", "self_attn.o_proj", "mlp.up_proj"].map(|path| (layer, path)))
        .map(|(layer, path)| LoraModule {
            path: format!("model.layers.{layer}.{path}"),
            in_features: 8,
            out_features: 8,
        })
        .collect();
    let taken = |options: serde_json::Value| -> Result<Vec<String>> {
        let config = LoraConfig::from_json(&options)?;
        let short = |module: &&LoraModule| module.path.replace("model.layers.", "").replace("_proj", "");
        Ok(config.resolve(&linears)?.iter().map(short).collect())
    };
    for (options, want) in [
        (json!({"target_modules": ["q_proj"], "layers_to_transform": 1}), vec!["1.self_attn.q"]),
        (
            json!({"target_modules": ["q_proj", "model.layers.0.mlp.up_proj"], "layers_to_transform": [2]}),
            vec!["0.mlp.up", "2.self_attn.q"],
        ),
        (
            json!({"target_modules": ["q_proj"], "layers_to_transform": [0, 9], "layers_pattern": ["h", "layers"]}),
            vec!["0.self_attn.q"],
        ),
        (
            json!({"target_modules": "all-linear", "exclude_modules": ".*(layers\\.[12]|mlp).*"}),
            vec!["0.self_attn.q", "0.self_attn.o"],
        ),
        (
            json!({"target_modules": ["q_proj", "up_proj"], "layers_to_transform": [], "exclude_modules": ["layers.1.mlp.up_proj", "q_proj"]}),
            vec!["0.mlp.up", "2.mlp.up"],
        ),
    ] {
        assert_eq!(taken(options.clone()).unwrap(), want, "{options}");
    }
    for (options, want) in [
        (
            json!({"target_modules": "all-linear", "layers_to_transform": 1}),
            "goes with a list of target_modules",
        ),
        (json!({"target_modules": ["q_proj"], "layers_pattern": "layers"}), "needs lora.layers_to_transform"),
        (json!({"target_modules": ["q_proj"], "layers_to_transform": 7}), "the model has layers 0 to 2"),
        (json!({"rank_pattern": {"q_proj": 0}}), "lora.rank_pattern: \"q_proj\" has 0, not 1 to 512"),
        (json!({"rank_pattern": {"(": 4}}), "lora.rank_pattern: \"(\" is no regular expression"),
        (
            json!({"alpha_pattern": {"q_proj": -1}}),
            "lora.alpha_pattern: \"q_proj\" has -1, not a positive number",
        ),
        (json!({"exclude_modules": "("}), "lora.exclude_modules: \"(\" is neither"),
    ] {
        let error = taken(options.clone()).unwrap_err();
        assert!(error.to_string().contains(want), "{options}: {error}");
    }
}
