//! Adapters beside a model: loaded, switched, saved, and what a run makes of them; and models whose files
//! depart from what their config says.

use std::collections::BTreeMap;
use std::rc::Rc;

use pollster::block_on;
use serde_json::{Map, Value, json};
use tabtune::cpu::Cpu;
use tabtune::data::import::import_file;
use tabtune::data::kv::MemoryKv;
use tabtune::data::library::ImportOptions;
use tabtune::error::{Code, Result};
use tabtune::files::{Directory, Files};
use tabtune::session::{DEFAULT_ADAPTER, PrepareOptions, Session};

use crate::saved_adapter::Saved;

type Native = Session;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
const EMBEDDING: &str = "model.embed_tokens.weight";

/// A folder some of whose files are others.
struct Changed {
    folder: Directory,
    files: BTreeMap<String, Vec<u8>>,
}

impl Changed {
    fn new(part: &str) -> Self {
        Changed::of("models/smollm2_f16_tied", part)
    }

    fn of(fixture: &str, part: &str) -> Self {
        let folder = Directory(format!("fixtures/{fixture}/{part}").into());
        Changed { folder, files: BTreeMap::new() }
    }

    fn original(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.folder.0.join(name)).expect("the fixture has it")
    }

    /// With other values in a file of JSON.
    fn with_json(mut self, name: &str, changes: Value) -> Self {
        let mut json: Value = serde_json::from_slice(&self.original(name)).expect("JSON");
        let fields = json.as_object_mut().expect("an object");
        fields.extend(changes.as_object().expect("an object").clone());
        self.files.insert(name.to_owned(), json.to_string().into_bytes());
        self
    }

    /// With other names of tensors, and one more that is `extra`.
    fn with_tensors(
        mut self,
        name: &str,
        rename: impl Fn(&str) -> String,
        extra: Option<(&str, Value, Vec<u8>)>,
    ) -> Self {
        let (header, data) = tensors(&self.original(name));
        let mut renamed: Map<String, Value> =
            header.into_iter().map(|(tensor, info)| (rename(&tensor), info)).collect();
        let mut bytes = data;
        if let Some((tensor, mut info, values)) = extra {
            info["data_offsets"] = json!([bytes.len(), bytes.len() + values.len()]);
            renamed.insert(tensor.to_owned(), info);
            bytes.extend(values);
        }
        let header = Value::from(renamed).to_string();
        let file = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &bytes].concat();
        self.files.insert(name.to_owned(), file);
        self
    }
}

#[async_trait::async_trait(?Send)]
impl Files for Changed {
    async fn size(&self, name: &str) -> Result<Option<u64>> {
        match self.files.get(name) {
            Some(bytes) => Ok(Some(bytes.len() as u64)),
            None => self.folder.size(name).await,
        }
    }

    async fn read(&self, name: &str, start: u64, len: usize) -> Result<Vec<u8>> {
        match self.files.get(name) {
            Some(bytes) => Ok(bytes[start as usize..start as usize + len].to_vec()),
            None => self.folder.read(name, start, len).await,
        }
    }
}

/// The header of a safetensors file and what follows it.
fn tensors(file: &[u8]) -> (Map<String, Value>, Vec<u8>) {
    let length = u64::from_le_bytes(file[..8].try_into().expect("8 bytes")) as usize;
    (serde_json::from_slice(&file[8..8 + length]).expect("a header"), file[8 + length..].to_vec())
}

/// The embedding of the fixture's model: its entry in the header, and its bytes.
fn embedding() -> (Value, Vec<u8>) {
    tensor(&Changed::new("model"), EMBEDDING)
}

fn tensor(model: &Changed, name: &str) -> (Value, Vec<u8>) {
    let (header, data) = tensors(&model.original("model.safetensors"));
    let info = header[name].clone();
    let at = |i: usize| info["data_offsets"][i].as_u64().expect("a place") as usize;
    let bytes = data[at(0)..at(1)].to_vec();
    (info, bytes)
}

async fn with_model(files: &dyn Files) -> Native {
    let mut session =
        Session::on(Cpu::open(None).expect("threads can be started"), Rc::new(MemoryKv::default()));
    session.load_model(files, &Value::Null, &mut |_| {}).await.expect("the model loads");
    let data = Directory("fixtures/models/smollm2_f16_tied".into());
    let (kv, options) = (session.rows.clone(), ImportOptions::default());
    import_file(kv, "rows", &data, "data.jsonl", options, &mut |_, _| {}).await.expect("rows");
    session
}

async fn loaded() -> Native {
    with_model(&Changed::new("model").folder).await
}

fn run<'a>(lora: Value, train: Value) -> PrepareOptions<'a> {
    PrepareOptions { lora, train, dataset: "rows", ..Default::default() }
}

fn short() -> Value {
    json!({"max_steps": 6, "max_length": 32, "per_device_train_batch_size": 2, "learning_rate": 1e-2})
}

async fn answer(session: &mut Native, options: Value) -> Result<String> {
    let mut all = json!({"max_new_tokens": 24});
    all.as_object_mut().expect("an object").extend(options.as_object().expect("an object").clone());
    let messages = json!([{"role": "user", "content": "The quick brown fox?"}]);
    Ok(session.generate(&messages, &all, &mut |_| true).await?.text)
}

async fn loss(session: &mut Native) -> f64 {
    session.prepare(run(Value::Null, short())).await.expect("a run");
    session.train_step().await.expect("a step").expect("a first step").loss
}

#[test]
fn what_was_trained_answers_without_a_run() {
    block_on(async {
        let mut session = loaded().await;
        let base = answer(&mut session, json!({})).await.unwrap();
        session.prepare(run(json!({"r": 4, "target_modules": "all-linear"}), short())).await.unwrap();
        while session.train_step().await.unwrap().is_some() {}
        let trained = answer(&mut session, json!({"adapter": true})).await.unwrap();
        assert_ne!(trained, base);
        let saved = session.save(None).await.unwrap();
        let config: Value = serde_json::from_slice(&saved[CONFIG].to_vec()).unwrap();
        let base_model = config["base_model_name_or_path"].as_str().expect("the base is named");
        assert!(std::path::Path::new(base_model).join("config.json").is_absolute());
        assert!(base_model.ends_with("smollm2_f16_tied/model"), "{base_model}");

        let mut session = loaded().await;
        let error = answer(&mut session, json!({"adapter": true})).await.unwrap_err();
        assert_eq!(error.code, Code::BadState);
        assert_eq!(session.save(None).await.unwrap_err().code, Code::BadState);
        let empty = session.counters().buffer_bytes();
        session.load_adapter("shop", &Saved(saved.clone())).await.unwrap();
        assert_eq!(answer(&mut session, json!({})).await.unwrap(), trained);
        assert_eq!(answer(&mut session, json!({"adapter": false})).await.unwrap(), base);
        assert_eq!(session.save(None).await.unwrap()[WEIGHTS], saved[WEIGHTS]);

        let fixture = Changed::new("adapter").folder;
        let other = session.load_adapter("other", &fixture).await.unwrap();
        assert_eq!((other.r, other.base_model_name_or_path.as_deref()), (8, Some("model")));
        assert_ne!(answer(&mut session, json!({})).await.unwrap(), trained);
        session.use_adapter(Some("shop")).unwrap();
        assert_eq!(answer(&mut session, json!({})).await.unwrap(), trained);
        session.use_adapter(None).unwrap();
        assert_eq!(answer(&mut session, json!({})).await.unwrap(), base);
        assert_eq!(answer(&mut session, json!({"adapter": true})).await.unwrap_err().code, Code::BadState);
        assert_eq!(session.use_adapter(Some("nobody")).unwrap_err().code, Code::BadOption);

        session.delete_adapter("shop").unwrap();
        session.delete_adapter("other").unwrap();
        assert_eq!(session.adapters().adapters, []);
        assert_eq!(session.counters().buffer_bytes(), empty, "what is not active takes no memory of the GPU");
    });
}

#[test]
fn a_run_trains_the_default_adapter_beside_the_others() {
    block_on(async {
        let mut session = loaded().await;
        let fixture = Changed::new("adapter").folder;
        session.load_adapter("other", &fixture).await.unwrap();
        let other = answer(&mut session, json!({})).await.unwrap();
        session.prepare(run(Value::Null, short())).await.unwrap();
        let names = |session: &Native| {
            let list = session.adapters();
            let names: Vec<String> = list.adapters.into_iter().map(|adapter| adapter.name).collect();
            (list.active, names, list.has_run)
        };
        let both = vec!["default".to_owned(), "other".to_owned()];
        assert_eq!(names(&session), (Some("default".to_owned()), both.clone(), true));
        let fresh = answer(&mut session, json!({})).await.unwrap();
        session.use_adapter(Some("other")).unwrap();
        assert_eq!(answer(&mut session, json!({})).await.unwrap(), other);
        // The run goes on with its own adapter.
        while session.train_step().await.unwrap().is_some() {}
        assert_eq!(answer(&mut session, json!({})).await.unwrap(), other);
        session.use_adapter(Some(DEFAULT_ADAPTER)).unwrap();
        assert_ne!(answer(&mut session, json!({})).await.unwrap(), fresh);

        // What was learnt so far is where another run with other options starts.
        let saved = session.save(None).await.unwrap();
        session.load_adapter(DEFAULT_ADAPTER, &Saved(saved)).await.unwrap();
        assert_eq!(names(&session), (Some("default".to_owned()), both, false));
        assert_eq!(session.train_step().await.unwrap_err().code, Code::BadState);
        let mut other_options = short();
        other_options["learning_rate"] = json!(1e-4);
        session.prepare(run(Value::Null, other_options)).await.unwrap();
        session.delete_adapter(DEFAULT_ADAPTER).unwrap();
        assert_eq!(names(&session), (None, vec!["other".to_owned()], false));
    });
}

#[test]
fn a_broken_adapter_is_refused_when_it_is_loaded_and_changes_nothing() {
    block_on(async {
        let mut session = loaded().await;
        session.load_adapter("good", &Changed::new("adapter").folder).await.unwrap();
        let before = session.adapters();
        let mut broken = Changed::new("adapter");
        broken.files.insert(CONFIG.to_owned(), b"{}".to_vec());
        let error = session.load_adapter(DEFAULT_ADAPTER, &broken).await.unwrap_err();
        assert_eq!(error.code, Code::BadAdapter);
        let mut broken = Changed::new("adapter");
        broken.files.insert(WEIGHTS.to_owned(), b"zz".to_vec());
        let error = session.load_adapter("good", &broken).await.unwrap_err();
        assert_eq!(error.code, Code::BadAdapter);
        assert!(error.to_string().contains(WEIGHTS), "{error}");
        assert_eq!(session.adapters(), before);
        session.prepare(run(Value::Null, short())).await.expect("a run from a fresh adapter");
    });
}

#[test]
fn what_lora_does_not_say_comes_from_the_adapter() {
    block_on(async {
        let mut session = loaded().await;
        session.load_adapter(DEFAULT_ADAPTER, &Changed::new("adapter").folder).await.unwrap();
        session.prepare(run(json!({"lora_dropout": 0.05}), short())).await.unwrap();
        let config = session.trainer().unwrap().trained().lora.as_ref().unwrap().config.clone();
        assert_eq!((config.r, config.lora_dropout), (8, 0.05));
        session
            .prepare(run(json!({"r": 8, "lora_alpha": 8, "target_modules": null}), short()))
            .await
            .unwrap();
        for (lora, named) in [
            (json!({"r": 4}), "lora.r "),
            (json!({"lora_alpha": 16}), "lora.lora_alpha "),
            (json!({"target_modules": "all-linear"}), "lora.target_modules "),
        ] {
            let error = session.check_run(&lora, &Value::Null).unwrap_err();
            assert_eq!(error.code, Code::BadOption);
            assert!(error.message.starts_with(named), "{error}");
        }
    });
}

#[test]
fn an_embedding_beside_an_adapter_is_left_out_where_it_is_the_model_s_own() {
    block_on(async {
        let of_text = "model.language_model.embed_tokens.weight";
        for (fixture, in_model, in_adapter) in [
            ("models/smollm2_f16_tied", EMBEDDING, EMBEDDING),
            ("families/gemma3_bf16_vision", "language_model.model.embed_tokens.weight", of_text),
        ] {
            let model = Changed::of(fixture, "model");
            let mut session = with_model(&model).await;
            let (info, bytes) = tensor(&model, in_model);
            for name in [in_adapter, "lm_head.weight"].map(|name| format!("base_model.model.{name}")) {
                let same = |name: &str| name.to_owned();
                let with = |bytes| {
                    let extra = (&*name, info.clone(), bytes);
                    Changed::of(fixture, "adapter").with_tensors(WEIGHTS, same, Some(extra))
                };
                session.load_adapter("same", &with(bytes.clone())).await.expect("it is the model's");
                let mut changed = bytes.clone();
                *changed.last_mut().expect("a value") ^= 1;
                let error = session.load_adapter("changed", &with(changed)).await.unwrap_err();
                assert_eq!(error.code, Code::BadAdapter);
                assert!(error.message.contains("vocabulary was changed"), "{error}");
            }
        }
    });
}

#[test]
fn a_run_that_is_refused_leaves_the_one_before_it() {
    block_on(async {
        let mut session = loaded().await;
        session.prepare(run(Value::Null, short())).await.unwrap();
        session.train_step().await.unwrap();
        let bytes = session.counters().buffer_bytes();
        let refused = [
            run(json!({"alpha": 8}), short()),
            run(json!({"target_modules": ["nothing"]}), short()),
            PrepareOptions { dataset: "nothing here", ..run(Value::Null, short()) },
            PrepareOptions { eval_dataset: Some("rows"), ..run(Value::Null, json!({"test_size": 0.5})) },
        ];
        for options in refused {
            session.prepare(options).await.unwrap_err();
            assert_eq!(session.counters().buffer_bytes(), bytes);
        }
        assert_eq!(session.train_step().await.unwrap().expect("the next step").step, 2);
    });
}

#[test]
fn the_head_of_the_files_counts_and_names_may_lack_their_prefix() {
    block_on(async {
        let tied = loss(&mut loaded().await).await;
        let (info, bytes) = embedding();
        let same = |name: &str| name.to_owned();
        let head = |bytes: Vec<u8>| {
            Changed::new("model").with_tensors(
                "model.safetensors",
                same,
                Some(("lm_head.weight", info.clone(), bytes)),
            )
        };
        let mut session = with_model(&head(vec![0; bytes.len()])).await;
        let vocab = info["shape"][0].as_u64().expect("a size") as f64;
        let chance = loss(&mut session).await;
        assert!((chance - vocab.ln()).abs() < 1e-5, "{chance} against {}", vocab.ln());
        let told = session.load_model(&head(vec![0; bytes.len()]), &Value::Null, &mut |_| {}).await.unwrap();
        assert_eq!(told.notices[0].code, "head-not-tied");

        let mut session = with_model(&head(bytes)).await;
        assert_eq!(loss(&mut session).await, tied, "the same values twice are tied");

        let bare = Changed::new("model").with_tensors(
            "model.safetensors",
            |name| name.strip_prefix("model.").unwrap_or(name).to_owned(),
            None,
        );
        assert_eq!(loss(&mut with_model(&bare).await).await, tied);
        let only_head = Changed::new("model").with_tensors(
            "model.safetensors",
            |name| if name == EMBEDDING { "lm_head.weight".to_owned() } else { name.to_owned() },
            None,
        );
        assert_eq!(loss(&mut with_model(&only_head).await).await, tied);
    });
}

#[test]
fn what_is_done_otherwise_than_the_config_says_is_told() {
    block_on(async {
        let files = Changed::new("model").with_json("config.json", json!({"attention_dropout": 0.1}));
        let mut session = loaded().await;
        let told = session.load_model(&files, &Value::Null, &mut |_| {}).await.unwrap();
        let [notice] = &told.notices[..] else { panic!("{:?}", told.notices) };
        assert_eq!(notice.code, "dropout-not-applied");
        assert!(notice.message.contains("attention_dropout is 0.1"), "{}", notice.message);
    });
}

/// As transformers computes them: these kinds of RoPE have the same angles whatever the context.
#[test]
fn rows_past_the_positions_that_a_model_was_made_for_are_trained_on_and_told() {
    block_on(async {
        for fixture in
            ["models/smollm2_f16_tied", "families/llama_bf16_yarn", "families/gemma3text_f32_untied"]
        {
            let model = Changed::of(fixture, "model");
            let whole = loss(&mut with_model(&model).await).await;
            let short_context = model.with_json("config.json", json!({"max_position_embeddings": 16}));
            let mut session = with_model(&short_context).await;
            let plan = session.prepare(run(Value::Null, short())).await.expect("a run");
            let [notice] = &plan.notices[..] else { panic!("{:?}", plan.notices) };
            assert_eq!(notice.code, "rows-beyond-context");
            for part in ["has 32 tokens", "made for 16", "train.max_length"] {
                assert!(notice.message.contains(part), "{}", notice.message);
            }
            assert_eq!(loss(&mut session).await, whole, "{fixture}");
        }
    });
}

#[test]
fn a_run_that_learnt_nothing_says_so() {
    block_on(async {
        let mut session = loaded().await;
        let mut train = short();
        train["learning_rate"] = json!(1e9);
        train["lr_scheduler_type"] = json!("constant");
        let plan = session.prepare(run(Value::Null, train)).await.unwrap();
        assert_eq!(plan.notices[0].code, "high-learning-rate");
        let mut last = None;
        while let Some(log) = session.train_step().await.unwrap() {
            last = Some(log);
        }
        let notice = last.expect("steps").notice.expect("a notice");
        assert_eq!(notice.code, "loss-at-chance");
    });
}

#[test]
fn the_remaining_time_counts_evaluations() {
    block_on(async {
        let mut session = loaded().await;
        let mut train = short();
        train["eval_steps"] = json!(1);
        let options = PrepareOptions { eval_dataset: Some("rows"), ..run(Value::Null, train) };
        session.prepare(options).await.unwrap();
        let log = session.train_step().await.unwrap().expect("a step");
        assert!(log.remaining_seconds > 5.0 * log.step_millis / 1000.0);
        let stopped = session.evaluate_while(&mut || false).await.unwrap_err();
        assert_eq!(stopped.code, Code::Cancelled);
        let began = std::time::Instant::now();
        session.evaluate().await.unwrap();
        let evaluation = began.elapsed().as_secs_f64();
        let log = session.train_step().await.unwrap().expect("a step");
        assert!(
            log.remaining_seconds > 4.0 * 0.9 * evaluation,
            "{} s, and {evaluation} each",
            log.remaining_seconds
        );
    });
}
