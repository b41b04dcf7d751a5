//! `config.json` from the metadata of GGUFs as llama.cpp's converter writes them (`tools/reference/gguf_headers.py`).

use std::path::PathBuf;

use pollster::block_on;
use serde_json::Value;
use tabtune::error::{Code, Error, Result};
use tabtune::files::Files;
use tabtune::format::gguf::Gguf;
use tabtune::model::Architecture;

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// A file whose data, of which only the beginning is there, goes on with zeros.
struct Header(Vec<u8>);

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

fn of_gguf(case: &str) -> Architecture {
    let bytes = std::fs::read(fixtures().join(format!("gguf/configs/{case}.gguf"))).unwrap();
    let gguf = block_on(Gguf::open(&Header(bytes), "model.gguf")).unwrap();
    let config = gguf.config().unwrap();
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
        "smollm3_f32_interval" => {
            set("use_sliding_window", false.into());
            set("no_rope_layer_interval", 4.into());
        }
        _ => {}
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
