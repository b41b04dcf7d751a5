//! Models whose weights are quantised in their files, or to 8 bits while they load, against PyTorch and PEFT on what the
//! codes stand for.

use tabtune::cpu::Cpu;
use tabtune::device::{ReadbackRing, Store, Workspace};
use tabtune::files::Directory;
use tabtune::format::{Nf4Quantizer, double_quantize, read_header, read_rows};
use tabtune::kernels::Recorder;
use tabtune::kernels::linear::{self, Tile};
use tabtune::kernels::lower::{Target, lower};
use tabtune::memory::Class;
use tabtune::model::{Group, LoadOptions, Model};
use tabtune::session::{Loading, ModelInfo, Session};

use super::{By, Case, assert_gradients, assert_steps, folders, gpu};

fn bases() -> Vec<Case> {
    folders("fixtures/bases")
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

/// Scales that stay in 8 bits on the device are worth, to the bit, what bitsandbytes makes of them.
#[test]
fn doubly_quantised_weights_have_the_values_of_bitsandbytes_to_the_bit() {
    pollster::block_on(async {
        let files = Directory("../www/models/tiny".into());
        for device in [gpu(), Cpu::open(None).expect("threads can be started").into()] {
            let mut store = Store::new(&device);
            let load = LoadOptions { load_in_4bit: true, double_quant: true, ..LoadOptions::default() };
            let architecture = Model::architecture(&files).await.expect("a config");
            let model =
                Model::load(&files, architecture, load, &mut store, &mut |_| {}).await.expect("a model");
            for (number, layer) in model.layers.iter().enumerate() {
                let product = &layer.groups[Group::Down][0];
                assert!(product.weight.is_nested, "its rows of 512 values have eight scales");
                let (rows, depth) = (product.cols(), product.inputs().padded);
                // Of each eight rows two words, two second-level scales, and 64 codes.
                assert_eq!(product.weight.scales.size(), 4 * 20 * (rows / 8) as u64);
                let out = store.keep(Class::Other, "values", rows * depth).expect("room");
                let mut rec = Recorder::new();
                let program = rec.program();
                linear::decode(&mut rec, linear::Params::plain(1, rows, depth), product.weight, out);
                let lowered = lower(&[rec], &Target::of(&device, &Tile::Direct.into())).expect("a program");
                Workspace::new(&device, &store, &lowered).expect("a workspace").run(&[program], 0);
                let mut ring = ReadbackRing::new(&device, out.size(), 1);
                let readback = ring.start(&store, out);
                let got: Vec<f32> = ring.finish(readback).await.expect("values");

                let name = format!("model.layers.{number}.mlp.down_proj.weight");
                let header = read_header(&files, "model.safetensors").await.expect("a header");
                let info = header.iter().find(|info| info.name == name).expect("the weight");
                let mut values = Vec::new();
                read_rows(&files, info, 0, info.rows(), &mut values).await.expect("its values");
                let mut quantizer = Nf4Quantizer::new(&info.shape);
                quantizer.push(&values);
                let mut want = quantizer.finish().expect("a tensor");
                double_quantize(&mut want.absmax);
                let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
                assert!(bits(&got[..want.dequantize().len()]) == bits(&want.dequantize()), "{name}");
            }
        }
    });
}
