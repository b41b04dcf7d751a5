//! Models whose weights are cut, as those are that pass what one binding holds, against the same models whole.

use std::rc::Rc;

use serde_json::{Value, json};
use tabtune::data::kv::MemoryKv;
use tabtune::session::Session;

use super::{Case, gpu, prepare, relative};

/// What a run gives that does not depend on how its weights lie.
struct Outcome {
    buffers: u64,
    /// The files of the adapter before any step.
    exported: Vec<(String, Vec<u8>)>,
    gradients: Vec<(String, Vec<f32>)>,
    /// Losses and gradient norms.
    steps: Vec<(f64, f64)>,
    eval_loss: f64,
    answer: String,
}

impl Outcome {
    async fn of(case: &Case, max_weight: Option<u64>, changes: &[(&str, Value)]) -> Self {
        let mut session = Session::on(gpu(), Rc::new(MemoryKv::default()));
        if let Some(bytes) = max_weight {
            session.set_max_weight(bytes);
        }
        prepare(&mut session, case, changes).await;
        let buffers = session.counters().buffers();
        let files = session.save(None).await.expect("an adapter");
        let exported = files.into_iter().map(|(name, bytes)| (name.to_string(), bytes.to_vec())).collect();
        session.trainer().expect("a run").set_pipelined(false);
        let first = session.train_step().await.expect("a step").expect("a first step");
        let gradients = session.gradients().await.expect("gradients");
        session.trainer().expect("a run").set_pipelined(true);
        let mut steps = vec![(first.loss, first.grad_norm)];
        while let Some(log) = session.train_step().await.expect("a step") {
            steps.push((log.loss, log.grad_norm));
        }
        let eval_loss = session.evaluate().await.expect("an evaluation").eval_loss;
        let options = json!({"max_new_tokens": 6, "temperature": 0});
        let answer = session.generate(&json!("The quick"), &options, &mut |_| true).await.expect("text").text;
        Outcome { buffers, exported, gradients, steps, eval_loss, answer }
    }
}

/// Dense weights, NF4 with whole blocks in a row and without, fused projections, biases, DoRA; some with dropout.
#[test]
fn cut_weights_give_what_whole_ones_do() {
    for (name, dropout, checkpointing) in [
        ("models/untied_f32_dense", 0.0, false),
        ("models/smollm2_f16_tied", 0.0, true),
        ("families/phi3_f32_plain", 0.1, false),
        ("families/qwen2_bf16_tied", 0.0, false),
        ("families/llama_f16_biases", 0.0, false),
        ("ways/dora", 0.0, true),
        ("ways/dora_fused_nf4", 0.1, false),
        ("ways/dora_biases_nf4", 0.0, false),
        ("ways/bias_lora_only", 0.0, false),
    ] {
        let mut case = Case::read(format!("fixtures/{name}").into());
        case.config["lora"]["lora_dropout"] = dropout.into();
        let changes = [("max_steps", 3.into()), ("gradient_checkpointing", checkpointing.into())];
        let of = |max_weight| pollster::block_on(Outcome::of(&case, max_weight, &changes));
        // Every stack falls apart into its modules, and every module of more than 64 rows into pieces.
        let (whole, cut) = (of(None), of(Some(1)));
        assert!(cut.buffers > whole.buffers, "{name}: {} buffers and {}", cut.buffers, whole.buffers);
        assert!(cut.exported == whole.exported, "{name}: an adapter is the same to the bit");
        let mut worst = [0.0f64; 2];
        for ((path, got), (other, want)) in cut.gradients.iter().zip(&whole.gradients) {
            assert_eq!((path, got.len()), (other, want.len()), "{name}");
            let norm = |f: &dyn Fn(usize) -> f32| {
                (0..want.len()).map(|i| f64::from(f(i)).powi(2)).sum::<f64>().sqrt()
            };
            worst[0] = worst[0].max(norm(&|i| got[i] - want[i]) / norm(&|i| want[i]));
        }
        assert_eq!(cut.gradients.len(), whole.gradients.len(), "{name}");
        let numbers = |outcome: &Outcome| -> Vec<f64> {
            let steps = outcome.steps.iter().flat_map(|&(loss, norm)| [loss, norm]);
            steps.chain([outcome.eval_loss]).collect()
        };
        for (got, want) in numbers(&cut).into_iter().zip(numbers(&whole)) {
            worst[1] = worst[1].max(relative(got, want));
        }
        println!("{name:30} gradients {:.1e}, losses and norms {:.1e}", worst[0], worst[1]);
        assert!(worst.iter().all(|&off| off <= 1e-6), "{name}: {worst:?}");
        assert_eq!(cut.answer, whole.answer, "{name}");
    }
}
