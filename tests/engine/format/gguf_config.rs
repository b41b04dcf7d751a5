//! `config.json` from the metadata of GGUFs as llama.cpp's converter writes them (`tools/reference/gguf_headers.py`).

use std::path::PathBuf;

use pollster::block_on;
use serde_json::{Value, json};
use tabtune::error::{Code, Error, Result};
use tabtune::files::Files;
use tabtune::format::gguf::Gguf;
use tabtune::model::Architecture;

use super::files::assert_refused;
use super::gguf::{GgufFile, Tensor, array, f32_value, text, u32_value};

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// A file whose data, of which only the beginning is there, goes on with zeros.
struct Header(Vec<u8>);

#[async_trait::async_trait(?Send)]
impl Files for Header {
    async fn size(&self, _: &str) -> Result<Option<u64>> {
        Ok(Some(16 << 20))
    }

    async fn read(&self, name: &str, start: u64, len: usize) -> Result<Vec<u8>> {
        if start + len as u64 > 16 << 20 {
            return Err(Error::new(Code::Io, format!("{name} ends before")));
        }
        Ok((start as usize..start as usize + len).map(|at| self.0.get(at).copied().unwrap_or(0)).collect())
    }
}

fn config_of_gguf(case: &str) -> Value {
    let bytes = std::fs::read(fixtures().join(format!("gguf/configs/{case}.gguf"))).unwrap();
    let gguf = block_on(Gguf::open(&Header(bytes), "model.gguf")).unwrap();
    gguf.config().unwrap()
}

fn of_gguf(case: &str) -> Architecture {
    let config = config_of_gguf(case);
    Architecture::from_json(config.to_string().as_bytes())
        .unwrap_or_else(|error| panic!("{case}: {error}: {config}"))
}

/// The model's own config, with what a GGUF does not say as llama.cpp takes it.
fn own(case: &str, folder: &str) -> Architecture {
    let path = fixtures().join(folder).join(case).join("model/config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    if config["model_type"] == "gemma3" {
        let mut text = config["text_config"].take();
        text["eos_token_id"] = config["eos_token_id"].take();
        text["torch_dtype"] =
            [config["torch_dtype"].take(), config["dtype"].take()].into_iter().find(Value::is_string).into();
        config = text;
    }
    let mut set = |name: &str, value: Value| config[name] = value;
    match case {
        "gemma3_bf16_vision" | "gemma3text_bf16_tied" => set("sliding_window_pattern", 6.into()),
        "llama_f32_dynamic" => set("rope_scaling", Value::Null),
        "llama_bf16_yarn" => {
            for name in ["truncate", "mscale", "mscale_all_dim"] {
                config["rope_parameters"].as_object_mut().unwrap().remove(name);
            }
        }
        "mistral_f16_window" => {
            set("model_type", "llama".into());
            set("sliding_window", Value::Null);
        }
        "qwen2_f16_window" | "qwen3_f32_biases" => set("use_sliding_window", false.into()),
        "smollm3_bf16_tied" => set("no_rope_layers", Value::Null),
        "smollm3_f32_interval" => {
            set("use_sliding_window", false.into());
            set("no_rope_layer_interval", 4.into());
        }
        _ => {}
    }
    // The token for padding is the tokenizer's there, and that of the class where it has none.
    match config_of_gguf(case).get("pad_token_id") {
        Some(id) => config["pad_token_id"] = id.clone(),
        None => drop(config.as_object_mut().unwrap().remove("pad_token_id")),
    }
    if config["model_type"] == "gemma3_text" {
        config["query_pre_attn_scalar"] = config["head_dim"].clone();
    }
    Architecture::from_json(config.to_string().as_bytes()).unwrap()
}

#[test]
fn the_config_of_a_gguf_means_the_same_as_the_models_own() {
    let mut count = 0;
    for folder in ["models", "families"] {
        for entry in std::fs::read_dir(fixtures().join(folder)).unwrap() {
            let case = entry.unwrap().file_name().into_string().unwrap();
            assert_eq!(of_gguf(&case), own(&case, folder), "{case}");
            count += 1;
        }
    }
    assert_eq!(count, 26);
}

/// A model of one layer, with these keys besides.
fn tiny(architecture: &str, change: impl FnOnce(&mut GgufFile)) -> Result<Value> {
    let key = |name: &str| format!("{architecture}.{name}");
    let mut file = GgufFile { values: Vec::new(), ..GgufFile::new() };
    file.values.push(("general.architecture".to_owned(), text(architecture)));
    for (name, value) in [
        ("block_count", 1),
        ("context_length", 4096),
        ("embedding_length", 32),
        ("feed_forward_length", 64),
        ("attention.head_count", 2),
    ] {
        file.values.push((key(name), u32_value(value)));
    }
    file.values.push((key("attention.layer_norm_rms_epsilon"), f32_value(1e-5)));
    file.tensors[0].name = "token_embd.weight".to_owned();
    file.tensors[1].name = "output_norm.weight".to_owned();
    file.tensors[2].name = "output.weight".to_owned();
    change(&mut file);
    file.open()?.config()
}

fn set(file: &mut GgufFile, key: &str, value: Vec<u8>) {
    file.values.retain(|(name, _)| name != key);
    file.values.push((key.to_owned(), value));
}

#[test]
fn what_a_gguf_does_not_say_is_what_llama_cpp_takes() {
    let config = tiny("llama", |_| {}).unwrap();
    assert_eq!(config["num_key_value_heads"], 2);
    assert_eq!(config["head_dim"], 16);
    assert_eq!(config["rope_theta"], 10_000.0);
    assert_eq!(config["rms_norm_eps"], 1e-5);
    assert_eq!(config["tie_word_embeddings"], false);
    let config = tiny("gemma3", |file| {
        set(file, "gemma3.block_count", u32_value(62));
        for layer in 0..62 {
            let name = format!("blk.{layer}.attn_norm.weight");
            file.tensors.push(Tensor { name, sizes: vec![8], kind: 0, offset: 192 + 32 * layer });
        }
        file.data.resize(192 + 32 * 62, 0);
        set(file, "gemma3.attention.sliding_window", u32_value(8));
    });
    let config = config.unwrap();
    assert_eq!(config["layer_types"][5], "full_attention");
    assert_eq!(config["layer_types"][6], "sliding_attention");
    assert_eq!(config["rope_local_base_freq"], 10_000.0);
    assert_eq!(config["query_pre_attn_scalar"], 16);
    let no_window = tiny("gemma3", |_| {}).unwrap();
    assert_eq!(no_window["layer_types"][0], "full_attention");
    let granite = tiny("granite", |file| set(file, "granite.logit_scale", f32_value(8.0))).unwrap();
    assert_eq!(granite["attention_multiplier"], 0.25);
    assert_eq!(granite["residual_multiplier"], 1.0);
    // A factor without a type is linear.
    let linear = tiny("llama", |file| set(file, "llama.rope.scaling.factor", f32_value(2.0))).unwrap();
    assert_eq!(linear["rope_scaling"], json!({"rope_type": "linear", "factor": 2.0}));
    let heads = array(4, 1, &1_u32.to_le_bytes());
    let listed = tiny("llama", |file| set(file, "llama.attention.head_count_kv", heads)).unwrap();
    assert_eq!(listed["num_key_value_heads"], 1);
}

#[test]
fn factors_of_the_frequencies_are_told_by_the_parameters_they_come_from() {
    let scaling = |factors: [f32; 8]| {
        let config = tiny("llama", |file| {
            file.tensors[1] =
                Tensor { name: "rope_freqs.weight".to_owned(), sizes: vec![8], kind: 0, offset: 0 };
            for (at, factor) in factors.iter().enumerate() {
                file.data[4 * at..4 * at + 4].copy_from_slice(&factor.to_le_bytes());
            }
            set(file, "llama.rope.freq_base", f32_value(500_000.0));
        });
        let mut config = config.unwrap();
        config["vocab_size"] = 32.into();
        Architecture::from_json(config.to_string().as_bytes()).unwrap();
        config["rope_scaling"].take()
    };
    // Those of Llama 3.1 with heads of 16.
    let llama3 = scaling([1.0, 1.0, 1.0, 1.0, 2.6945297, 8.0, 8.0, 8.0]);
    assert_eq!(llama3["rope_type"], "llama3");
    assert_eq!((&llama3["factor"], &llama3["original_max_position_embeddings"]), (&json!(8.0), &json!(8192)));
    assert_eq!((&llama3["low_freq_factor"], &llama3["high_freq_factor"]), (&json!(1.0), &json!(4.0)));
    let strange = scaling([1.0, 1.5, 1.0, 1.25, 8.0, 3.0, 8.0, 2.0]);
    assert_eq!(strange["rope_type"], "longrope");
    assert_eq!(strange["long_factor"], json!([1.0, 1.5, 1.0, 1.25, 8.0, 3.0, 8.0, 2.0]));
    assert_eq!(scaling([1.0; 8]), Value::Null);
}

#[test]
fn a_gguf_that_means_what_is_not_done_here_is_refused_by_key_or_tensor() {
    let refused = |architecture: &str, key: &str, value: Vec<u8>, code: Code, parts: &[&str]| {
        assert_refused(
            tiny(architecture, |file| set(file, key, value)),
            code,
            &[&["m.gguf", key], parts].concat(),
        );
    };
    let (bad, unsupported) = (Code::BadModel, Code::UnsupportedModel);
    refused("llama", "general.architecture", text("mamba"), unsupported, &["mamba", "smollm3"]);
    refused("llama", "general.type", text("adapter"), unsupported, &["adapter"]);
    refused("llama", "llama.expert_count", u32_value(8), unsupported, &[]);
    refused("llama", "llama.block_count", u32_value(0), bad, &["0"]);
    refused("llama", "llama.block_count", u32_value(5000), unsupported, &["5000"]);
    refused("llama", "llama.block_count", u32_value(4), bad, &["3 tensors"]);
    refused("llama", "llama.embedding_length", text("32"), bad, &["string"]);
    refused("llama", "llama.embedding_length", u32_value(1), bad, &[]);
    refused("llama", "llama.attention.value_length", u32_value(8), unsupported, &[]);
    refused("llama", "llama.attention.layer_norm_rms_epsilon", f32_value(f32::NAN), bad, &["finite"]);
    refused("llama", "llama.attention.layer_norm_rms_epsilon", f32_value(-1.0), bad, &["positive"]);
    refused("llama", "llama.rope.dimension_count", u32_value(8), unsupported, &["8"]);
    refused("llama", "llama.rope.scaling.type", text("longrope"), unsupported, &["longrope"]);
    refused(
        "granite",
        "granite.rope.scaling.finetuned",
        [7_u32.to_le_bytes().to_vec(), vec![0]].concat(),
        unsupported,
        &[],
    );
    let differing = array(4, 2, &[1_u32.to_le_bytes(), 2_u32.to_le_bytes()].concat());
    refused("llama", "llama.attention.head_count_kv", differing, unsupported, &["layer to layer"]);
    let missing = tiny("llama", |file| file.values.retain(|(key, _)| key != "llama.context_length"));
    assert_refused(missing, bad, &["m.gguf", "llama.context_length is missing"]);
    let yarn = tiny("qwen2", |file| {
        set(file, "qwen2.rope.scaling.type", text("yarn"));
        set(file, "qwen2.rope.scaling.yarn_attn_factor", f32_value(1.2));
    });
    assert_refused(yarn, unsupported, &["qwen2.rope.scaling.yarn_attn_factor", "1.2"]);
    let name = |name: &str| tiny("llama", |file| file.tensors[1].name = name.to_owned());
    assert_refused(name("blk.0.ssm_in.weight"), unsupported, &["blk.0.ssm_in.weight", "llama"]);
    assert_refused(name("blk.0.attn_q.bias"), unsupported, &["blk.0.attn_q.bias", "attn_k"]);
    let factors = tiny("llama", |file| file.tensors[1].name = "rope_freqs.weight".to_owned());
    assert_refused(factors, bad, &["rope_freqs.weight", "positive"]);
    assert_refused(
        tiny("llama", |file| drop(file.tensors.remove(0))),
        bad,
        &["token_embd.weight is missing"],
    );
}
