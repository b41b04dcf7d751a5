//! Learning from preferences, against TRL's trainers.
//!
//! `tools/reference/preferences.md` says in words what the references fix.

use std::path::Path;

use serde_json::Value;
use tabtune::kernels::linear::Tile;
use tabtune::session::Texts;
use tabtune::train::StepLog;

use super::{By, Case, assert_gradients, folders, prepared_by, relative};

/// All but those of TRL's measures that are not told here.
const TOLD: [&str; 10] = [
    "rewards/chosen",
    "rewards/rejected",
    "rewards/accuracies",
    "rewards/margins",
    "logps/chosen",
    "logps/rejected",
    "kl",
    "nll_loss",
    "log_odds_ratio",
    "log_odds_chosen",
];

fn cases() -> Vec<Case> {
    folders("fixtures/preferences")
}

async fn steps(case: &Case, by: By, changes: &[(&str, Value)]) -> Vec<StepLog> {
    let mut session = prepared_by(by, case, changes).await;
    let mut steps = Vec::new();
    while let Some(log) = session.train_step().await.expect("a step") {
        steps.push(log.log);
    }
    steps
}

/// How far apart two numbers are: relative, and absolute below 1.
fn apart(got: f64, want: f64) -> f64 {
    (got - want).abs() / want.abs().max(1.0)
}

fn assert_steps(case: &Case, by: By, changes: &[(&str, Value)]) {
    let steps = pollster::block_on(steps(case, by, changes));
    let wanted = case.expected["steps"].as_array().expect("expected.json has steps");
    assert_eq!(steps.len(), wanted.len(), "{}", case.name);
    let mut worst = [0.0f64; 3];
    for (log, want) in steps.iter().zip(wanted) {
        let number = |name: &str| want[name].as_f64().unwrap_or_else(|| panic!("no {name}"));
        assert_eq!(log.num_tokens as f64, number("num_tokens"), "{} step {}", case.name, log.step);
        worst[0] = worst[0].max(apart(log.loss, number("loss")));
        worst[1] = worst[1].max(relative(log.grad_norm, number("grad_norm")));
        for name in TOLD {
            let (got, want) = (log.metrics.get(name).copied(), want[name].as_f64());
            assert_eq!(got.is_some(), want.is_some(), "{} step {}: {name}", case.name, log.step);
            let Some((got, want)) = got.zip(want) else { continue };
            let off = apart(got, want);
            assert!(off <= 1e-4, "{} {by:?} step {}: {name} is {got}, not {want}", case.name, log.step);
            worst[2] = worst[2].max(off);
        }
    }
    println!(
        "{:25} {by:?} loss {:.1e} grad_norm {:.1e} metrics {:.1e}",
        case.name, worst[0], worst[1], worst[2]
    );
    assert!(worst[0] <= 1e-4, "{}: loss off by {:e}", case.name, worst[0]);
    assert!(worst[1] <= 1e-3, "{}: grad_norm off by {:e}", case.name, worst[1]);
}

#[test]
fn ten_steps_are_those_of_trl() {
    for case in cases() {
        for by in [By::Gpu, By::Processor] {
            assert_steps(&case, by, &[]);
        }
    }
}

#[test]
fn a_reference_that_is_computed_along_is_the_same() {
    for name in ["dpo_nf4", "dpo_full", "kto_cut"] {
        let case = Case::read(Path::new("fixtures/preferences").join(name));
        for by in [By::Gpu, By::Processor] {
            assert_steps(&case, by, &[("precompute_ref_log_probs", false.into())]);
        }
    }
}

/// What rows are scored to is what TRL has, by the model as it was loaded and by what ten steps made of it.
#[test]
fn scores_of_rows_are_the_log_probabilities_of_trl() {
    for case in cases().iter().filter(|case| case.config["train"]["method"] == "dpo") {
        for by in [By::Gpu, By::Processor] {
            let [before, after] = pollster::block_on(async {
                let mut session = prepared_by(by, case, &[]).await;
                while session.train_step().await.expect("a step").is_some() {}
                let texts = Texts::Dataset { dataset: "rows".to_owned(), first: 0, count: None };
                let train = &case.config["train"];
                let before = session.score(&texts, false, train, &mut |_, _| true).await.expect("scores");
                [before, session.score(&texts, true, train, &mut |_, _| true).await.expect("scores")]
            });
            let mut worst = [0.0f64; 2];
            for entry in case.expected["entries"].as_array().expect("entries") {
                let row = entry["row"].as_u64().expect("a number") as usize;
                for (of, (key, scores)) in
                    [("ref_logps", &before), ("logps_after", &after)].iter().enumerate()
                {
                    if of == 0 && case.config["train"]["reference"] == "start" {
                        continue;
                    }
                    for side in 0..2 {
                        let want = entry[key][side].as_f64().expect("a number");
                        worst[of] = worst[of].max(relative(scores[2 * row + side].logp, want));
                    }
                }
            }
            println!("{:25} {by:?} before {:.1e} after {:.1e}", case.name, worst[0], worst[1]);
            assert!(worst.iter().all(|worst| *worst <= 1e-5), "{}: {worst:?}", case.name);
        }
    }
}

#[test]
fn every_gradient_of_step_one_is_that_of_trl() {
    for case in cases() {
        for (by, checkpointing) in [(By::Tile(Tile::Direct), false), (By::Gpu, true), (By::Processor, false)]
        {
            assert_gradients(&case, checkpointing, by, 5e-4);
        }
    }
}
