//! Models of each family: what Llama's fixtures do not have, against PyTorch and PEFT.

use serde_json::Value;
use tabtune::device::Store;
use tabtune::files::Directory;
use tabtune::generate::Generator;
use tabtune::kernels::linear::Tile;
use tabtune::model::{Model, model_types};
use tabtune::train::options::QuantizationOptions;

use super::{By, Case, assert_gradients, assert_steps, folders, gpu, json};

fn families() -> Vec<Case> {
    folders("fixtures/families")
}

#[test]
fn every_family_has_two_models() {
    let all = folders("fixtures/families").into_iter().chain(folders("fixtures/models"));
    let types: Vec<String> = all
        .map(|case| {
            json(&case.folder.join("model/config.json"))["model_type"].as_str().expect("a type").to_owned()
        })
        .collect();
    for model_type in model_types() {
        let count = types.iter().filter(|found| *found == model_type).count();
        // Mistral is Llama with a window.
        let enough = if model_type == "mistral" { 1 } else { 2 };
        assert!(count >= enough, "{model_type} has {count} fixture models");
    }
}

#[test]
fn ten_steps_have_the_losses_and_norms_of_pytorch() {
    for case in families() {
        for by in [By::Gpu, By::Processor] {
            assert_steps(&case, by, [1e-4, 1e-3]);
        }
    }
}

/// On all tiles for CPU adapters, one of them with activations computed again, and on the processor.
#[test]
fn every_gradient_of_step_one_is_that_of_pytorch() {
    for case in families() {
        let tiles = [
            (Tile::Direct, false),
            (Tile::Decoded, false),
            (Tile::Subgroup4, true),
            (Tile::Subgroup8, false),
        ];
        let tiles = tiles.into_iter().map(|(tile, checkpointing)| (By::Tile(tile), checkpointing));
        for (by, checkpointing) in tiles.chain([(By::Processor, false)]) {
            assert_gradients(&case, checkpointing, by, 5e-4);
        }
    }
}

/// The model without an adapter goes on from a prompt, a token at a time through its cache, as transformers does.
/// Where there is a second answer, it passes the length after which angles are others.
#[test]
fn greedy_answers_are_those_of_transformers() {
    let mut crossings = 0;
    for case in families() {
        pollster::block_on(async {
            let device = gpu();
            let (mut store, files) = (Store::new(&device), Directory(case.folder.join("model")));
            let architecture = Model::architecture(&files).await.expect("a config");
            let options = QuantizationOptions::from_json(&case.config["quantization"]).expect("options");
            let load = options.load_options().expect("options that can be read");
            let model = Model::load(&files, architecture, load, &mut store, &mut |_| {}).await;
            let model = model.expect("the model loads");
            let tiles = Tile::for_adapter(device.summary()).into();

            let answers = ["greedy", "greedy_crossing"].map(|name| &case.expected[name]);
            let answers = answers.map(|answer| ["prompt_ids", "tokens"].map(|name| token_ids(&answer[name])));
            crossings += answers.iter().filter(|[_, tokens]| !tokens.is_empty()).count() - 1;
            let capacity = answers.iter().map(|answer| answer.concat().len()).max().expect("two answers");
            let mut generator =
                Generator::new(&device, &mut store, &model, None, &tiles, capacity).expect("a generator");
            for [mut input, want] in answers {
                let (mut position, mut got) = (0, Vec::new());
                while got.len() < want.len() {
                    let logits = generator.run(&store, &input, position, false).await.expect("logits");
                    position += input.len();
                    let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
                    got.push(best.expect("a vocabulary") as u32);
                    input = vec![got[got.len() - 1]];
                }
                assert_eq!(got, want, "{}", case.name);
            }
        });
    }
    assert_eq!(crossings, 2, "one of longrope and one of dynamic");
}

/// None where there is no list.
fn token_ids(list: &Value) -> Vec<u32> {
    list.as_array().into_iter().flatten().map(|id| id.as_u64().expect("a token") as u32).collect()
}
