//! Models whose weights are quantised in their files, or to 8 bits while they load, against PyTorch and PEFT on what the
//! codes stand for.

use tabtune::kernels::linear::Tile;
use tabtune::session::{Loading, ModelInfo, Session};

use super::{By, Case, assert_gradients, assert_steps, folders};

fn bases() -> Vec<Case> {
    folders("tests/fixtures/bases")
}

#[test]
fn ten_steps_have_the_losses_and_norms_of_pytorch() {
    for case in bases() {
        for by in [By::Gpu, By::Processor] {
            assert_steps(&case, by, [1e-4, 1e-3]);
        }
    }
}

#[test]
fn every_gradient_of_step_one_is_that_of_pytorch() {
    for case in bases() {
        for (by, checkpointing) in [(By::Tile(Tile::Direct), false), (By::Gpu, true), (By::Processor, false)]
        {
            assert_gradients(&case, checkpointing, by, 5e-4);
        }
    }
}

/// What the processor's session says of a case's model once it is loaded.
fn loaded(case: &Case, quantization: serde_json::Value) -> ModelInfo {
    pollster::block_on(async {
        let rows = std::rc::Rc::new(tabtune::data::kv::MemoryKv::default());
        let cpu = tabtune::cpu::Cpu::open(None).expect("threads can be started");
        let mut session = Session::on(cpu, rows);
        let info = session.load_model(&case.model(), &quantization, &mut |_: Loading| {}).await;
        info.expect("the model loads")
    })
}

/// What bitsandbytes' `llm_int8_skip_modules` names stays as the file has it, and nothing is said of it.
#[test]
fn modules_that_are_named_are_not_quantised() {
    let case = bases().into_iter().find(|case| case.name == "int8_while_loading").expect("a case");
    let loaded = |quantization| {
        let info = loaded(&case, quantization);
        (info.quantized_parameters, info.notices.len())
    };
    let all = loaded(serde_json::json!({"load_in_8bit": true}));
    // Of two layers with a hidden width of 60 and a feed-forward width of 92.
    let (o_proj, up_proj) = (2 * 60 * 60, 60 * 92);
    for asked in ["load_in_8bit", "load_in_4bit"] {
        let names = ["lm_head", "o_proj", "model.layers.1.mlp.up_proj"];
        let some = loaded(serde_json::json!({asked: true, "llm_int8_skip_modules": names}));
        assert_eq!(some, (all.0 - o_proj - up_proj, all.1), "{asked}");
    }
}

/// What a file has quantised stays as it is, whatever is asked for, but for `requantize`.
#[test]
fn quantised_weights_are_quantised_again_only_when_that_is_asked_for() {
    let case = bases().into_iter().find(|case| case.name == "gguf_q8_0_qwen2").expect("a case");
    let loaded = |quantization| loaded(&case, quantization).bits_per_quantized_parameter;
    assert_eq!(loaded(serde_json::json!({})), 8.5);
    assert_eq!(loaded(serde_json::json!({"load_in_4bit": true})), 8.5);
    assert_eq!(loaded(serde_json::json!({"load_in_8bit": true})), 8.5);
    let again = loaded(serde_json::json!({"requantize": "nf4"}));
    assert!(again > 4.4 && again < 5.0, "{again} bits");
}
