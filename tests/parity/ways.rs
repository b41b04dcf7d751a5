//! The other ways to train, against transformers and PEFT: all weights, and each optimiser.

use std::path::Path;

use tabtune::export::{ExportDtype, ExportOptions, Folder, Format};
use tabtune::kernels::linear::Tile;

use super::{By, Case, assert_gradients, assert_steps, json, prepared_by, relative};

/// Tied and untied heads, biases, fused projections, norms of heads, norms that add one, multipliers; accumulation, decay
/// and clipping.
const FULL: [&str; 5] = ["full_gemma3", "full_granite", "full_llama_biases", "full_qwen3", "full_smollm3"];
const SGD: [&str; 1] = ["full_qwen2_sgd"];
/// Fused projections, each of which is one matrix to it; decay and clipping.
const ADAFACTOR: [&str; 1] = ["full_phi3_adafactor"];
/// Adapters whose modules, ranks and alphas are told apart by patterns.
const PATTERNS: [&str; 3] = ["patterns", "target_expression", "layers_pattern_sgd"];

fn cases(names: &[&str]) -> Vec<Case> {
    names.iter().map(|name| Case::read(format!("tests/fixtures/ways/{name}").into())).collect()
}

#[test]
fn ten_steps_have_the_losses_and_norms_of_transformers() {
    for case in cases(&[&FULL[..], &SGD, &ADAFACTOR, &PATTERNS].concat()) {
        for by in [By::Gpu, By::Processor] {
            assert_steps(&case, by, [1e-4, 1e-3]);
        }
    }
}

#[test]
fn every_gradient_of_step_one_is_that_of_transformers() {
    for case in cases(&[&FULL[..], &SGD, &ADAFACTOR, &PATTERNS].concat()) {
        for (by, checkpointing) in [
            (By::Tile(Tile::Direct), false),
            (By::Tile(Tile::Shared64), true),
            (By::Gpu, true),
            (By::Processor, false),
        ] {
            assert_gradients(&case, checkpointing, by, 5e-4);
        }
    }
}

/// After ten steps every parameter is where the reference's is: as long, as far from its start, with the same first values.
#[test]
fn what_ten_steps_make_of_the_parameters_is_what_transformers_makes() {
    for case in cases(&[&FULL[..], &SGD, &ADAFACTOR, &PATTERNS].concat()) {
        let (before, after) = pollster::block_on(async {
            let mut session = prepared_by(By::Processor, &case, &[]).await;
            let before = session.parameters().await.expect("parameters");
            while session.train_step().await.expect("a step").is_some() {}
            (before, session.parameters().await.expect("parameters"))
        });
        let want = json(&case.folder.join("final.json"));
        let want = want.as_object().expect("final.json has parameters");
        assert_eq!(after.len(), want.len(), "{}", case.name);
        let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
        let mut worst = [0.0f64; 2];
        for ((name, before), (_, after)) in before.iter().zip(&after) {
            let prefix = if case.config["lora"].is_null() { "" } else { "base_model.model." };
            let want = &want[&format!("{prefix}{name}")];
            let number = |key: &str| want[key].as_f64().expect("a number");
            let length = norm(&mut after.iter().map(|&x| f64::from(x)));
            let change = norm(&mut after.iter().zip(before).map(|(a, b)| f64::from(*a) - f64::from(*b)));
            worst[0] = worst[0].max(relative(length, number("norm")));
            worst[1] = worst[1].max(relative(change, number("change")));
            assert!(
                relative(length, number("norm")) <= 1e-5,
                "{}: the norm of {name} is {length}",
                case.name
            );
            assert!(relative(change, number("change")) <= 1e-3, "{}: {name} moved by {change}", case.name);
            let steps = case.config["train"]["learning_rate"].as_f64().expect("a number") * 10.0;
            for (got, want) in after.iter().zip(want["values"].as_array().expect("values")) {
                let error = (f64::from(*got) - want.as_f64().expect("a number")).abs();
                assert!(error <= 1e-3 * steps + 1e-6, "{}: a value of {name} is {error:e} off", case.name);
            }
        }
        println!("{:25} norms {:.1e} changes {:.1e}", case.name, worst[0], worst[1]);
    }
}

/// A model whose weights were all trained is a model like any other: loaded again it has the loss that training ended with.
#[test]
fn a_saved_model_has_the_loss_that_training_ended_with() {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("full");
    for case in cases(&[&FULL[..], &ADAFACTOR].concat()) {
        std::fs::create_dir_all(&place).expect("a folder");
        std::fs::copy(case.place().join("data.jsonl"), place.join("data.jsonl")).expect("the rows");
        let mut again = Case::read(case.folder.clone());
        again.config["model"] = place.to_str().expect("a path in UTF-8").into();
        for (dtype, bound) in [(ExportDtype::F32, 1e-6), (ExportDtype::BF16, 1e-2)] {
            let [trained, saved] = pollster::block_on(async {
                let mut session = prepared_by(By::Processor, &case, &[]).await;
                while session.train_step().await.expect("a step").is_some() {}
                let trained = session.evaluate().await.expect("an evaluation").eval_loss;
                let options = ExportOptions::new(Format::Safetensors, Some(dtype)).expect("options");
                let mut sink = Folder::create(&place.join("model")).expect("a folder");
                session
                    .export(&case.model(), None, options, &mut sink, &mut |_| true)
                    .await
                    .expect("a model");
                let mut session = prepared_by(By::Processor, &again, &[]).await;
                [trained, session.evaluate().await.expect("an evaluation").eval_loss]
            });
            assert!(relative(saved, trained) <= bound, "{}: {saved} in {dtype:?}, not {trained}", case.name);
            let want = case.expected["eval_loss_after"].as_f64().expect("a number");
            assert!(relative(trained, want) <= 1e-5, "{}: {trained} against {want}", case.name);
        }
        std::fs::remove_dir_all(&place).expect("the folder goes");
    }
}
