//! A weighted sum of adapters as an adapter: `tests/fixtures/blend` has what PEFT makes of three by concatenation.

use std::rc::Rc;

use pollster::block_on;
use safetensors::SafeTensors;
use serde_json::{Value, json};
use tabtune::cpu::Cpu;
use tabtune::data::import::import_file;
use tabtune::data::kv::MemoryKv;
use tabtune::data::library::ImportOptions;
use tabtune::error::Code;
use tabtune::files::Directory;
use tabtune::session::{DEFAULT_ADAPTER, PrepareOptions, Session, Texts};

use crate::saved_adapter::Saved;

type Native = Session;

const BLEND: &str = "fixtures/blend";
const CASE: &str = "fixtures/models/smollm2_f16_tied";
const WEIGHTS: &str = "adapter_model.safetensors";

fn folder(path: &str) -> Directory {
    Directory(path.into())
}

fn json_of(path: &str) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("the fixture has it")).expect("JSON")
}

async fn with_model(case: &str) -> Native {
    let mut session =
        Session::on(Cpu::open(None).expect("threads can be started"), Rc::new(MemoryKv::default()));
    let model = folder(&format!("{case}/model"));
    session.load_model(&model, &Value::Null, &mut |_| {}).await.expect("the model loads");
    session
}

/// The model of the fixture with its three adapters.
async fn with_three() -> Native {
    let mut session = with_model(CASE).await;
    for name in ["first", "second", "third"] {
        session.load_adapter(name, &folder(&format!("{BLEND}/{name}"))).await.expect("the adapter loads");
    }
    let (kv, options) = (session.rows.clone(), ImportOptions::default());
    import_file(kv, "rows", &folder(CASE), "data.jsonl", options, &mut |_, _| {}).await.expect("rows");
    session
}

fn parts(parts: &[(&str, f64)]) -> Vec<(String, f64)> {
    parts.iter().map(|&(name, weight)| (name.to_owned(), weight)).collect()
}

/// The log-probability of every row.
async fn scores(session: &mut Native, adapter: bool) -> Vec<f64> {
    let rows = Texts::Dataset { dataset: "rows".to_owned(), first: 0, count: None };
    let train = json_of(&format!("{CASE}/config.json"))["train"].clone();
    let scores = session.score(&rows, adapter, &train, &mut |_, _| true).await.expect("scores");
    scores.into_iter().map(|score| score.logp).collect()
}

#[track_caller]
fn assert_near(found: &[f64], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() <= 1e-5 * expected.abs(), "{found} against {expected}");
    }
}

fn f32s(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().expect("4 bytes"))).collect()
}

#[test]
fn a_blend_is_what_peft_makes_of_the_same_adapters() {
    block_on(async {
        let mut session = with_three().await;
        let expected = json_of(&format!("{BLEND}/expected.json"));
        let weights = expected["weights"].as_object().expect("weights");
        let wanted: Vec<_> =
            weights.iter().map(|(name, weight)| (name.clone(), weight.as_f64().expect("a number"))).collect();
        session.blend_adapters("blend", &wanted).await.expect("a blend");
        assert_eq!(session.adapters().active.as_deref(), Some("blend"));

        let saved = session.save(None).await.expect("it can be saved");
        let (ours, theirs) =
            (saved[WEIGHTS].to_vec(), std::fs::read(format!("{BLEND}/blend/{WEIGHTS}")).unwrap());
        let (ours, theirs) =
            (SafeTensors::deserialize(&ours).unwrap(), SafeTensors::deserialize(&theirs).unwrap());
        assert_eq!(ours.len(), theirs.len());
        // PEFT gives every module the rank of the largest and fills up with zeros.
        let mut ranks = Vec::new();
        for (name, tensor) in ours.tensors() {
            let padded = theirs.tensor(&name).unwrap();
            let ([rows, cols], [_, padded_cols]) = (tensor.shape(), padded.shape()) else {
                panic!("{name} is no matrix")
            };
            let (values, padded) = (f32s(tensor.data()), f32s(padded.data()));
            for (at, value) in padded.iter().enumerate() {
                let (row, col) = (at / padded_cols, at % padded_cols);
                if row < *rows && col < *cols {
                    assert_eq!(values[row * cols + col].to_bits(), value.to_bits(), "{name} at {row}, {col}");
                } else {
                    assert_eq!(*value, 0.0, "{name} at {row}, {col}");
                }
            }
            if name.ends_with("lora_A.weight") {
                ranks.push(*rows);
            }
        }
        ranks.sort_unstable();
        assert_eq!(ranks, [3, 3, 3, 3, 3, 3, 3, 5, 5, 5, 7, 7, 7, 9]);

        let of = |name: &str| -> Vec<f64> { serde_json::from_value(expected[name].clone()).unwrap() };
        let blended = scores(&mut session, true).await;
        assert_near(&blended, &of("sum"));
        assert_near(&scores(&mut session, false).await, &of("base"));

        let told = session.load_adapter("again", &Saved(saved.clone())).await.expect("it loads");
        assert_eq!((told.r, told.lora_alpha), (3, 3.0));
        assert_eq!(scores(&mut session, true).await, blended);
        assert_eq!(session.save(Some("again")).await.unwrap(), saved, "to the bit");
    });
}

#[test]
fn what_one_part_adds_another_can_take_away() {
    block_on(async {
        let mut session = with_three().await;
        session.use_adapter(Some("second")).unwrap();
        let second = scores(&mut session, true).await;
        session
            .blend_adapters("same", &parts(&[("first", 0.0), ("second", 1.0), ("third", -0.0)]))
            .await
            .unwrap();
        assert_near(&scores(&mut session, true).await, &second);
        session.blend_adapters("none", &parts(&[("second", 2.0), ("same", -2.0)])).await.unwrap();
        let base = scores(&mut session, false).await;
        assert_near(&scores(&mut session, true).await, &base);
        // A blend may be one of its own parts.
        session.blend_adapters("same", &parts(&[("same", -1.0), ("second", 2.0)])).await.unwrap();
        assert_near(&scores(&mut session, true).await, &second);
        assert_eq!(session.adapters().adapters.len(), 5);
    });
}

#[test]
fn a_run_s_adapter_is_blended_as_it_is() {
    block_on(async {
        let mut session = with_three().await;
        let train = json!({"max_steps": 4, "max_length": 32, "learning_rate": 1e-2});
        let options = PrepareOptions { train, dataset: "rows", ..Default::default() };
        session.prepare(options).await.expect("a run");
        for _ in 0..2 {
            session.train_step().await.unwrap().expect("a step");
        }
        session.blend_adapters("half way", &parts(&[(DEFAULT_ADAPTER, 1.0)])).await.unwrap();
        session.use_adapter(Some(DEFAULT_ADAPTER)).unwrap();
        let half_way = scores(&mut session, true).await;
        while session.train_step().await.unwrap().is_some() {}
        let trained = scores(&mut session, true).await;
        assert!(trained != half_way);
        session.use_adapter(Some("half way")).unwrap();
        assert_near(&scores(&mut session, true).await, &half_way);
        // What is called "default" takes the place of the run, as a loaded adapter does.
        session.blend_adapters(DEFAULT_ADAPTER, &parts(&[(DEFAULT_ADAPTER, 1.0)])).await.unwrap();
        assert!(!session.adapters().has_run);
        assert_near(&scores(&mut session, true).await, &trained);
    });
}

async fn refused(session: &mut Native, wanted: Vec<(String, f64)>, code: Code, named: &[&str]) {
    let before = session.adapters();
    let error = session.blend_adapters("blend", &wanted).await.unwrap_err();
    assert_eq!(error.code, code, "{error}");
    for named in named {
        assert!(error.message.contains(named), "{error} names {named:?}");
    }
    assert_eq!(session.adapters(), before);
}

#[test]
fn what_does_not_add_up_is_refused_and_changes_nothing() {
    block_on(async {
        let mut session = with_three().await;
        for (wanted, named) in [
            (parts(&[]), "whose weight is not 0"),
            (parts(&[("first", 0.0)]), "whose weight is not 0"),
            (parts(&[("first", 1.0), ("nobody", 0.0)]), "\"nobody\""),
            (parts(&[(DEFAULT_ADAPTER, 1.0)]), "\"default\""),
            (parts(&[("first", 1.0), ("second", f64::NAN)]), "\"second\""),
            (parts(&[("second", 1e39)]), "\"second\""),
            (parts(&[("first", 1.0); 129]), "add up to 516 at model.layers.0.self_attn.q_proj, and 512"),
        ] {
            refused(&mut session, wanted, Code::BadOption, &[named]).await;
        }
        session
            .blend_adapters("large", &parts(&[("first", 3e38)]))
            .await
            .expect("the largest value is below 1");
        refused(&mut session, parts(&[("large", 20.0)]), Code::NotFinite, &["\"large\"", "layers.0"]).await;
        let error = session.blend_adapters("", &parts(&[("first", 1.0)])).await.unwrap_err();
        assert_eq!(error.code, Code::BadOption);
        session.blend_adapters("widest", &parts(&[("first", 1.0); 128])).await.expect("a rank of 512");
    });
}

#[test]
fn adapters_that_are_more_than_factors_are_refused_by_what_they_have() {
    block_on(async {
        for (case, way, named) in [
            ("families/llama_bf16_yarn", "dora", "use_dora"),
            ("families/qwen3_bf16_tied", "save_norms", "modules_to_save (norm)"),
            ("families/qwen2_bf16_tied", "bias_lora_only", "bias"),
        ] {
            let mut session = with_model(&format!("fixtures/{case}")).await;
            let adapter = folder(&format!("fixtures/ways/{way}/adapter"));
            session.load_adapter(way, &adapter).await.expect("the adapter loads");
            let error = session.blend_adapters("blend", &parts(&[(way, 1.0)])).await.unwrap_err();
            assert_eq!(error.code, Code::BadOption);
            assert!(error.message.contains(named) && error.message.contains(way), "{error}");
        }
    });
}
