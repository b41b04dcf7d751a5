//! Whether DPO teaches a real model a taste. The model is not part of the tree:
//!
//!     node tools/verb-pairs.mjs out/verbs
//!     TABTUNE_TASTE=/path/to/SmolLM2-135M-Instruct:/path/to/out/verbs cargo nextest run --release --test parity taste --run-ignored all

use std::path::Path;
use std::rc::Rc;

use serde_json::{Value, json};
use tabtune::cpu::Cpu;
use tabtune::data::import::import_file;
use tabtune::data::kv::MemoryKv;
use tabtune::data::library::ImportOptions;
use tabtune::files::Directory;
use tabtune::session::{PrepareOptions, Session, Texts};
use tabtune::train::RowScore;

/// The paragraphs that the package looks at forgetting by.
fn prose() -> Vec<Value> {
    let file = std::fs::read_to_string("../www/package/evaluation/prose.ts").expect("the prose is there");
    let quoted = file.split('`').skip(1).step_by(2);
    let paragraphs: Vec<Value> = quoted.map(|text| json!({"text": text.replace('\n', " ")})).collect();
    assert!(paragraphs.len() >= 10, "{} paragraphs", paragraphs.len());
    paragraphs
}

async fn scores(session: &mut Session, texts: &Texts, adapter: bool) -> Vec<RowScore> {
    session.score(texts, adapter, &Value::Null, &mut |_, _| true).await.expect("scores")
}

fn perplexity(scores: &[RowScore]) -> f64 {
    let sum = |of: fn(&RowScore) -> f64| scores.iter().map(of).sum::<f64>();
    (-sum(|score| score.logp) / sum(|score| score.tokens as f64)).exp()
}

fn accuracy(scores: &[RowScore]) -> f64 {
    let pairs = scores.as_chunks::<2>().0;
    pairs.iter().filter(|[chosen, rejected]| chosen.logp > rejected.logp).count() as f64 / pairs.len() as f64
}

#[test]
#[ignore = "needs SmolLM2-135M-Instruct and some minutes"]
fn dpo_teaches_smollm2_a_taste() {
    let place = std::env::var("TABTUNE_TASTE").expect("TABTUNE_TASTE is MODEL:PAIRS");
    let (model, pairs) = place.split_once(':').expect("MODEL:PAIRS");
    pollster::block_on(async {
        let kv = Rc::new(MemoryKv::default());
        for name in ["train", "heldout"] {
            let data = Directory(Path::new(pairs).to_owned());
            let file = format!("{name}.jsonl");
            import_file(kv.clone(), name, &data, &file, ImportOptions::default(), &mut |_, _| {})
                .await
                .expect("rows");
        }
        let mut session = Session::on(Cpu::open(None).expect("threads"), kv);
        let nf4 = json!({"load_in_4bit": true, "bnb_4bit_use_double_quant": true});
        session.load_model(&Directory(model.into()), &nf4, &mut |_| {}).await.expect("the model loads");
        let train = json!({
            "method": "dpo", "learning_rate": 5e-5, "max_steps": 100, "per_device_train_batch_size": 4,
            "shuffle_dataset": true, "max_length": 256, "lr_scheduler_type": "cosine", "warmup_ratio": 0.1,
        });
        let lora = json!({"r": 16, "lora_alpha": 32, "target_modules": "all-linear"});
        let options = PrepareOptions { lora, train, dataset: "train", ..Default::default() };
        session.prepare(options).await.expect("the run is prepared");
        let held_out = Texts::Dataset { dataset: "heldout".to_owned(), first: 0, count: None };
        let unrelated = Texts::Rows { rows: prose() };
        let before = [
            accuracy(&scores(&mut session, &held_out, false).await),
            perplexity(&scores(&mut session, &unrelated, false).await),
        ];
        while let Some(log) = session.train_step().await.expect("a step") {
            if log.step % 10 == 0 {
                let told = |name: &str| log.metrics[name];
                println!(
                    "step {:3} loss {:.4} accuracies {:.2} margins {:.3}",
                    log.step,
                    log.loss,
                    told("rewards/accuracies"),
                    told("rewards/margins")
                );
            }
        }
        let after = [
            accuracy(&scores(&mut session, &held_out, true).await),
            perplexity(&scores(&mut session, &unrelated, true).await),
        ];
        println!("held-out pairs: {:.3} right before, {:.3} after", before[0], after[0]);
        println!("perplexity of unrelated text: {:.2} before, {:.2} after", before[1], after[1]);
        assert!(before[0] < 0.7 && after[0] > 0.9, "accuracy {} to {}", before[0], after[0]);
        assert!((after[1] / before[1] - 1.0).abs() <= 0.1, "perplexity {} to {}", before[1], after[1]);
    });
}
