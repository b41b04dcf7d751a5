use std::collections::BTreeMap;

use pollster::block_on;
use safetensors::SafeTensors;
use serde_json::{Value, json};
use tabtune::error::Code;
use tabtune::export::{Change, ExportDtype, Format, Original, export, read_adapter};
use tabtune::format::{Checkpoint, read_rows_raw};
use xxhash_rust::xxh3::Xxh3;

use super::sink::{Memory, copy_of, exported, fixture, options};

const WEIGHTS: &str = "model.safetensors";
const DTYPES: [ExportDtype; 3] = [ExportDtype::F32, ExportDtype::F16, ExportDtype::BF16];

/// The modules that an adapter adapts, by the name that each has in PEFT.
fn adapted(case: &str) -> Vec<String> {
    let path = fixture(case, "adapter").0.join("adapter_model.safetensors");
    let bytes = std::fs::read(path).expect("the fixture is there");
    let tensors = SafeTensors::deserialize(&bytes).expect("safetensors");
    let names = tensors.names().into_iter();
    let modules = names.filter_map(|name| name.strip_suffix(".lora_A.weight"));
    let mut modules: Vec<String> = modules
        .map(|name| name.strip_prefix("base_model.model.").expect("PEFT's prefix").to_owned())
        .collect();
    modules.retain(|name| !name.contains("vision_tower"));
    modules.sort();
    modules
}

/// The sum that `tools/reference/merged.py` has of the same weights.
fn merged_sum(case: &str, folder: &Memory) -> String {
    let bytes = &folder.files[WEIGHTS];
    let tensors = SafeTensors::deserialize(bytes).expect("safetensors");
    let mut sum = Xxh3::new();
    for module in adapted(case) {
        sum.update(module.as_bytes());
        // Files of transformers 4 have the text part of a model that sees pictures elsewhere.
        let older = module.replace("model.language_model.", "language_model.model.");
        let tensor = tensors.tensor(&format!("{module}.weight"));
        let tensor = tensor.or_else(|_| tensors.tensor(&format!("{older}.weight")));
        sum.update(tensor.unwrap_or_else(|_| panic!("{module}")).data());
    }
    format!("{:032x}", sum.digest128())
}

#[test]
fn the_sum_is_that_of_merge_and_unload_to_the_bit() {
    let expected = std::fs::read("fixtures/merged.json").expect("the fixture is there");
    let expected: BTreeMap<String, BTreeMap<String, String>> =
        serde_json::from_slice(&expected).expect("JSON");
    assert_eq!(expected.len(), 26);
    for (case, sums) in expected {
        for dtype in DTYPES {
            let options = options(Format::Safetensors, Some(dtype));
            let folder = exported(&fixture(&case, "model"), Some(&fixture(&case, "adapter")), &options);
            let sum = merged_sum(&case, &folder.expect("it is exported"));
            assert_eq!(sum, sums[dtype.name()], "{case} {}", dtype.name());
        }
    }
}

#[test]
fn without_an_adapter_the_folder_is_as_it_was() {
    let case = fixture("families/gemma3_f16_language_model", "model");
    let folder = exported(&case, None, &options(Format::Safetensors, None)).unwrap();
    let [before, after] = [
        block_on(Checkpoint::open(&case)).unwrap().tensors,
        block_on(Checkpoint::open(&folder)).unwrap().tensors,
    ];
    assert!(before.keys().eq(after.keys()));
    let (mut was, mut is) = (Vec::new(), Vec::new());
    for (name, tensor) in &before {
        block_on(read_rows_raw(&case, tensor, 0, tensor.rows(), &mut was)).unwrap();
        block_on(read_rows_raw(&folder, &after[name], 0, tensor.rows(), &mut is)).unwrap();
        assert!(was == is && tensor.dtype() == after[name].dtype(), "{name}");
    }
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        assert_eq!(folder.files[name], std::fs::read(case.0.join(name)).unwrap());
    }
    let config = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
    assert_eq!(
        config(&folder.files["config.json"]),
        config(&std::fs::read(case.0.join("config.json")).unwrap())
    );
}

#[test]
fn the_config_tells_the_dtype_that_was_asked_for() {
    for (case, dtype, name, field) in [
        ("models/llama3_bf16_untied", Some(ExportDtype::F16), "float16", "/torch_dtype"),
        ("families/gemma3_bf16_vision", Some(ExportDtype::F32), "float32", "/torch_dtype"),
        ("models/llama3_bf16_untied", None, "bfloat16", "/torch_dtype"),
    ] {
        let folder = exported(&fixture(case, "model"), None, &options(Format::Safetensors, dtype)).unwrap();
        let config: Value = serde_json::from_slice(&folder.files["config.json"]).unwrap();
        let told = config.pointer(field).or_else(|| config.get("dtype"));
        assert_eq!(told, Some(&json!(name)), "{case}");
    }
}

#[test]
fn a_tied_head_that_is_stored_twice_is_written_once() {
    let mut model = copy_of(&fixture("models/smollm2_f16_tied", "model"));
    let bytes = model.files[WEIGHTS].clone();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut all = tensors.tensors();
    let head = tensors.tensor("model.embed_tokens.weight").unwrap();
    all.push(("lm_head.weight".to_owned(), head));
    model.files.insert(WEIGHTS.to_owned(), safetensors::serialize(all, None).unwrap());
    let folder = exported(&model, None, &options(Format::Safetensors, None)).unwrap();
    let written = SafeTensors::deserialize(&folder.files[WEIGHTS]).unwrap();
    let mut names = [written.names(), tensors.names()];
    names.iter_mut().for_each(|names| names.sort());
    assert_eq!(names[0], names[1]);
}

#[test]
fn shards_hold_what_one_file_holds() {
    let case = "models/llama3_bf16_untied";
    let (model, adapter) = (fixture(case, "model"), fixture(case, "adapter"));
    let mut options = options(Format::Safetensors, None);
    let one = exported(&model, Some(&adapter), &options).unwrap();
    options.max_shard_bytes = 60_000;
    let many = exported(&model, Some(&adapter), &options).unwrap();
    let shards: Vec<&String> = many.files.keys().filter(|name| name.ends_with(".safetensors")).collect();
    assert_eq!(shards[0], "model-00001-of-00005.safetensors");
    assert_eq!(shards.len(), 5);
    let index: Value = serde_json::from_slice(&many.files["model.safetensors.index.json"]).unwrap();
    let whole = SafeTensors::deserialize(&one.files[WEIGHTS]).unwrap();
    let parameters: usize =
        whole.tensors().iter().map(|(_, tensor)| tensor.shape().iter().product::<usize>()).sum();
    assert_eq!(index["metadata"], json!({"total_parameters": parameters, "total_size": 2 * parameters}));
    let mut count = 0;
    for shard in shards {
        let part = SafeTensors::deserialize(&many.files[shard]).unwrap();
        for (name, tensor) in part.tensors() {
            assert_eq!(tensor.data(), whole.tensor(&name).unwrap().data(), "{name}");
            assert_eq!(index["weight_map"][&name], json!(shard));
            count += 1;
        }
    }
    assert_eq!(count, whole.len());
}

#[test]
fn a_value_beyond_the_dtype_is_refused_by_name() {
    let mut model = copy_of(&fixture("models/untied_f32_dense", "model"));
    let bytes = model.files.get_mut(WEIGHTS).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&7e4_f32.to_le_bytes());
    let error = exported(&model, None, &options(Format::Safetensors, Some(ExportDtype::F16))).err().unwrap();
    assert_eq!(error.code, Code::NotFinite);
    assert!(error.message.contains("model.norm.weight: values are beyond what f16 can hold"), "{error}");
    exported(&model, None, &options(Format::Safetensors, Some(ExportDtype::BF16))).unwrap();
}

#[test]
fn an_adapter_that_does_not_fit_is_refused() {
    let (model, adapter) =
        (fixture("models/llama3_bf16_untied", "model"), fixture("models/smollm2_f16_tied", "adapter"));
    let error = exported(&model, Some(&adapter), &options(Format::Safetensors, None)).err().unwrap();
    assert_eq!(error.code, Code::BadAdapter, "{error}");
}

#[test]
fn progress_counts_to_the_end_and_may_cancel() {
    let case = "models/llama3_bf16_untied";
    let (model, adapter) = (fixture(case, "model"), fixture(case, "adapter"));
    block_on(async {
        let original = Original::open(&model).await.unwrap();
        let adapter = read_adapter(&original, &adapter).await.unwrap();
        let options = options(Format::Safetensors, None);
        let mut told = Vec::new();
        let mut sink = Memory::default();
        let mut on_progress = |progress: &_| {
            told.push(Clone::clone(progress));
            true
        };
        export(&original, Change::Adapter(&adapter), &options, &mut sink, &mut on_progress).await.unwrap();
        let last = told.last().unwrap();
        let bytes: usize = sink.files.values().map(Vec::len).sum();
        assert_eq!(
            (last.written, last.total, last.file.as_str()),
            (bytes as u64, bytes as u64, "config.json")
        );
        assert!(told.windows(2).all(|two| two[0].written < two[1].written && two[0].total == two[1].total));

        let mut sink = Memory::default();
        let cancelled =
            export(&original, Change::Adapter(&adapter), &options, &mut sink, &mut |_| false).await;
        assert_eq!(cancelled.unwrap_err().code, Code::Cancelled);
        assert!(!sink.files.contains_key("config.json"));
    });
}
