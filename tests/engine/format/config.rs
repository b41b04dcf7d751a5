use pollster::block_on;
use serde_json::{Value, json};
use tabtune::error::{Code, Result};
use tabtune::format::Checkpoint;
use tabtune::model::{Architecture, Attention, Rope, RopeScaling, View};

use super::files::{MemoryFiles, assert_refused};

const MODELS: [&str; 7] = [
    "llama2_bf16_dense",
    "llama3_bf16_untied",
    "mistral_f16_window",
    "sharded_f16_dense",
    "smollm2_f16_tied",
    "tied_f32_odd_sizes",
    "untied_f32_dense",
];

fn parse(json: &Value) -> Result<Architecture> {
    Architecture::from_json(json.to_string().as_bytes())
}

fn with(changes: Value) -> Result<Architecture> {
    let mut json = json!({
        "model_type": "llama", "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "vocab_size": 100, "rms_norm_eps": 1e-5
    });
    for (name, value) in changes.as_object().unwrap() {
        json[name] = value.clone();
    }
    parse(&json)
}

/// Of a model whose layers are all alike.
fn attention(model: &Architecture) -> Attention {
    assert!(model.layers.iter().all(|layer| layer == &model.layers[0]));
    model.layers[0].attention
}

fn rope(model: &Architecture) -> &Rope {
    let [rope] = &model.ropes[..] else { panic!("{} ropes", model.ropes.len()) };
    rope
}

#[test]
fn defaults_are_those_of_transformers() {
    let llama = with(json!({})).unwrap();
    assert_eq!((attention(&llama).kv_heads, attention(&llama).head_dim, llama.context), (4, 12, 2048));
    assert_eq!((rope(&llama).theta, &rope(&llama).scaling), (10_000.0, &RopeScaling::Default));
    assert_eq!((llama.tied, llama.views.clone(), llama.dtype.clone()), (false, vec![View::All], None));
    assert_eq!(llama.eos_token_ids, [2]);

    let mistral = json!({"model_type": "mistral", "num_attention_heads": 8, "head_dim": 8});
    let mistral = with(mistral).unwrap();
    assert_eq!((attention(&mistral).kv_heads, mistral.views.clone()), (8, vec![View::Window(4096)]));
    let nulls = json!({"model_type": "mistral", "sliding_window": null, "num_key_value_heads": null,
        "eos_token_id": [5, -1, 6], "bos_token_id": -1, "torch_dtype": "float16"});
    let nulls = with(nulls).unwrap();
    assert_eq!((attention(&nulls).kv_heads, nulls.views.clone()), (4, vec![View::All]));
    assert_eq!(nulls.eos_token_ids, [5, 6]);
    assert_eq!(nulls.dtype.as_deref(), Some("float16"));
}

#[test]
fn both_spellings_of_rope_are_read() {
    let llama3 = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64});
    let old = with(json!({"rope_theta": 5e5, "rope_scaling": llama3})).unwrap();
    let mut parameters = llama3.clone();
    parameters["rope_theta"] = json!(5e5);
    let new = with(json!({"rope_parameters": parameters})).unwrap();
    assert_eq!(old, new);
    assert_eq!(rope(&old).theta, 5e5);
    let linear = with(json!({"rope_scaling": {"type": "linear", "factor": 2}})).unwrap();
    assert_eq!(rope(&linear).scaling, RopeScaling::Linear { factor: 2.0 });
    assert_eq!(rope(&with(json!({"rope_scaling": null})).unwrap()).scaling, RopeScaling::Default);
}

#[test]
fn unsupported_configs_are_refused_by_name() {
    let cases = [
        (json!({"model_type": "gpt2"}), "gpt2"),
        (json!({"hidden_act": "gelu"}), "hidden_act"),
        (json!({"quantization_config": {"quant_method": "gptq", "bits": 4}}), "\"gptq\""),
        (json!({"quantization_config": {"bits": 4}}), "quantization_config"),
        (json!({"rope_scaling": {"rope_type": "su", "factor": 2.0}}), "\"su\""),
        (json!({"rope_parameters": {"rope_type": "proportional"}}), "rope_parameters.rope_type"),
        (json!({"partial_rotary_factor": 0.5}), "partial_rotary_factor"),
        (json!({"head_dim": 6}), "head_dim"),
        (json!({"head_dim": 260}), "head_dim"),
        (json!({"hidden_size": 50}), "hidden_size"),
        (json!({"num_key_value_heads": 3}), "num_key_value_heads"),
        (json!({"hidden_size": 0}), "hidden_size"),
        (json!({"num_key_value_heads": 0}), "num_key_value_heads"),
        (json!({"vocab_size": 1_u64 << 60}), "vocab_size"),
    ];
    for (changes, name) in cases {
        assert_refused(with(changes), Code::UnsupportedModel, &["config.json", name]);
    }
}

/// A config of another family with the sizes of [`with`].
fn family(model_type: &str, changes: Value) -> Result<Architecture> {
    let mut json = json!({"model_type": model_type, "num_key_value_heads": 4});
    json.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    with(json)
}

/// The classes' defaults in transformers 5.23.
#[test]
fn absent_fields_mean_what_the_familys_class_says() {
    let sizes = json!({"num_attention_heads": 32, "hidden_size": 1024});
    let of = |model_type, changes: Value| {
        let mut all = sizes.clone();
        all["model_type"] = json!(model_type);
        all.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        with(all).unwrap()
    };
    let facts = |model: &Architecture| {
        let attention = attention(model);
        (attention.kv_heads, attention.head_dim, model.context, rope(model).theta, model.tied)
    };
    assert_eq!(facts(&of("qwen2", json!({}))), (32, 32, 32_768, 10_000.0, false));
    assert_eq!(facts(&of("qwen3", json!({}))), (32, 128, 32_768, 10_000.0, false));
    assert_eq!(facts(&of("phi3", json!({}))), (32, 32, 4096, 10_000.0, false));
    assert_eq!(facts(&of("granite", json!({}))), (32, 32, 2048, 10_000.0, false));
    assert_eq!(attention(&of("granite", json!({}))).scale, 1.0);
    let smollm = of("smollm3", json!({"no_rope_layers": [1, 1]}));
    assert_eq!(facts(&smollm), (4, 32, 32_768, 2_000_000.0, true));

    let gemma = json!({"model_type": "gemma3", "text_config": {"model_type": "gemma3_text"}});
    let gemma = parse(&gemma).unwrap();
    assert_eq!((gemma.hidden.real, gemma.vocab.real, gemma.layers.len()), (2304, 262_208, 26));
    assert_eq!((gemma.context, gemma.tied, gemma.layers[0].ffn.real), (131_072, true, 9216));
    let first = gemma.layers[0].attention;
    assert_eq!((first.q_heads, first.kv_heads, first.head_dim, first.scale), (8, 4, 256, 1.0 / 16.0));
    let ropes: Vec<f32> = gemma.ropes.iter().map(|rope| rope.theta).collect();
    assert_eq!((ropes, gemma.views.clone()), (vec![1e6, 1e4], vec![View::All, View::Window(4096)]));
    let is_local: Vec<bool> = gemma.layers.iter().map(|layer| layer.attention.view == 1).collect();
    assert!(is_local.iter().enumerate().all(|(number, &is_local)| is_local == ((number + 1) % 6 != 0)));
    assert_eq!(parse(&json!({"model_type": "gemma3"})).unwrap_err().code, Code::BadModel);
}

#[test]
fn windows_are_those_of_the_layers_that_have_them() {
    let views = |changes: Value| -> Vec<View> {
        let model = family("qwen2", changes).unwrap();
        model.layers.iter().map(|layer| model.views[layer.attention.view]).collect()
    };
    let (all, near) = (View::All, View::Window(8));
    assert_eq!(views(json!({"sliding_window": 8, "use_sliding_window": false})), [all, all]);
    let on = json!({"sliding_window": 8, "use_sliding_window": true});
    let with_on = |name: &str, value: Value| {
        let mut changes = on.clone();
        changes[name] = value;
        views(changes)
    };
    assert_eq!(views(on.clone()), [all, all], "the first 28 layers have none by default");
    assert_eq!(with_on("max_window_layers", json!(1)), [all, near]);
    assert_eq!(with_on("layer_types", json!(["sliding_attention", "full_attention"])), [near, all]);
    let short = json!({"layer_types": ["full_attention"]});
    assert_refused(family("qwen2", short), Code::BadModel, &["config.json", "layer_types"]);
    let no_rope = json!({"no_rope_layers": [1]});
    assert_refused(family("smollm3", no_rope), Code::BadModel, &["config.json", "no_rope_layers"]);
    let smollm = |changes: Value| {
        let model = family("smollm3", changes).unwrap();
        let layers = model.layers.iter();
        layers.map(|layer| (layer.attention.rope, model.views[layer.attention.view])).collect::<Vec<_>>()
    };
    // More entries than layers are those of a larger model; a window by `layer_types` needs no other word.
    let changes = json!({"no_rope_layers": [2, 0, 1], "layer_types": ["sliding_attention", "attention"],
        "sliding_window": 8, "use_sliding_window": false});
    assert_eq!(smollm(changes), [(Some(0), near), (None, all)]);
}

/// Values of transformers 5.23.
#[test]
fn ropes_of_phi_go_by_its_own_original_context() {
    let factors = |more: Value| {
        let count = more["count"].as_u64().unwrap_or(6) as usize;
        let mut scaling =
            json!({"type": "longrope", "short_factor": vec![1.0; count], "long_factor": vec![2.0; count]});
        scaling.as_object_mut().unwrap().extend(more["scaling"].as_object().cloned().unwrap_or_default());
        let mut changes = json!({"rope_scaling": scaling});
        changes.as_object_mut().unwrap().extend(more["model"].as_object().cloned().unwrap_or_default());
        family("phi3", changes)
    };
    let attention = |more: Value| match &factors(more).unwrap().ropes[0].scaling {
        RopeScaling::LongRope { attention_factor, original_max_position_embeddings, .. } => {
            (*attention_factor, *original_max_position_embeddings)
        }
        other => panic!("{other:?}"),
    };
    let inside = json!({"original_max_position_embeddings": 32});
    let short = json!({"scaling": inside, "model": {"max_position_embeddings": 256}});
    assert_eq!(attention(short), (1.0, 4096));
    let (factor, original) = attention(json!({"model": {"max_position_embeddings": 131_072}}));
    assert!((factor - 1.190238).abs() < 1e-5, "{factor}");
    assert_eq!(original, 4096);
    let named = json!({"model": {"original_max_position_embeddings": 64, "max_position_embeddings": 64}});
    assert_eq!(attention(named), (1.0, 64));
    assert_eq!(attention(json!({"scaling": {"type": "yarn"}})), (1.0, 4096));

    // int(20 · 0.7) is 14 in f64 and would be 13 in f32; an odd width turns a pair more than half of it.
    for (head_dim, partial, dim, rotary_dim) in [(20, 0.7, 14, 14), (20, 0.65, 13, 14), (12, 0.75, 9, 10)] {
        let changes = json!({"head_dim": head_dim, "partial_rotary_factor": partial});
        let model = family("phi3", changes).unwrap();
        assert_eq!((rope(&model).dim, rope(&model).rotary_dim), (dim, rotary_dim), "{head_dim} · {partial}");
        assert_eq!(rope(&model).inv_freq(1).len(), rotary_dim / 2);
    }
}

/// Those that the classes of transformers 5.23 apply while a model trains.
#[test]
fn dropouts_that_are_on_are_known() {
    let of = |model: Result<Architecture>| model.unwrap().dropouts;
    let all = json!({"attention_dropout": 0.1, "resid_pdrop": 0.2, "embd_pdrop": 0.3});
    let attention = ("attention_dropout".to_owned(), 0.1);
    for model_type in ["gemma3_text", "granite", "llama", "mistral", "qwen2", "qwen3", "smollm3"] {
        assert_eq!(of(family(model_type, all.clone())), std::slice::from_ref(&attention), "{model_type}");
        assert_eq!(of(family(model_type, json!({"attention_dropout": 0}))), [], "{model_type}");
    }
    assert_eq!(of(family("phi3", all.clone())), [attention, ("resid_pdrop".to_owned(), 0.2)]);
    let whole = json!({"model_type": "gemma3", "text_config": all});
    assert_eq!(of(parse(&whole)), [("text_config.attention_dropout".to_owned(), 0.1)]);
    for wrong in [json!("0.1"), json!(1.5), json!(-0.1)] {
        let model = with(json!({"attention_dropout": wrong}));
        assert_refused(model, Code::BadModel, &["config.json", "attention_dropout", "from 0 to 1"]);
    }
}

#[test]
fn ropes_of_gemma_are_those_of_its_layer_types() {
    let ropes = |changes: Value| -> Vec<(f32, RopeScaling)> {
        let model = family("gemma3_text", changes).unwrap();
        model.ropes.into_iter().map(|rope| (rope.theta, rope.scaling)).collect()
    };
    let (plain, linear) = (RopeScaling::Default, RopeScaling::Linear { factor: 8.0 });
    let old = json!({"rope_theta": 5e5, "rope_local_base_freq": 2e4, "rope_scaling": {"rope_type": "linear", "factor": 8}});
    assert_eq!(ropes(old), [(5e5, linear.clone()), (2e4, plain.clone())]);
    // The class has set the type already, so the older name of the field does nothing.
    let older = json!({"rope_scaling": {"type": "linear", "factor": 8}});
    assert_eq!(ropes(older), [(1e6, plain.clone()), (1e4, plain.clone())]);
    let flat = json!({"rope_parameters": {"rope_type": "linear", "factor": 8, "rope_theta": 5e5}});
    assert_eq!(ropes(flat), [(1e6, plain.clone()), (1e4, plain.clone())]);
    let both = json!({"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 5e5}},
        "rope_scaling": {"rope_type": "linear", "factor": 8}});
    assert_eq!(ropes(both), [(5e5, linear), (1e4, plain)]);
}

/// Each token of a text that grows has the angles of the length at which it came.
#[test]
fn dynamic_angles_follow_a_text_that_grows() {
    let scaling = json!({"rope_type": "dynamic", "factor": 4.0});
    let model = with(json!({"max_position_embeddings": 8, "rope_scaling": scaling})).unwrap();
    let rope = rope(&model);
    assert_eq!(model.context, 32);
    let row = |table: &[f32], position: usize| table[6 * position..][..6].to_vec();
    let grown = rope.growing_table(16, 10).0;
    for (position, length) in [(0, 10), (9, 10), (10, 11), (15, 16)] {
        assert_eq!(row(&grown, position), row(&rope.table(16, length).0, position), "position {position}");
    }
    assert_eq!(rope.table(8, 8), rope.table(8, 1), "short texts are not stretched");
    assert_ne!(rope.table(8, 9), rope.table(8, 8));
}

#[test]
fn what_a_family_has_beyond_this_engine_is_refused_by_name() {
    for (model_type, changes, name) in [
        ("gemma3_text", json!({"final_logit_softcapping": 30.0}), "final_logit_softcapping"),
        ("gemma3_text", json!({"use_bidirectional_attention": true}), "use_bidirectional_attention"),
        ("gemma3_text", json!({"hidden_activation": "gelu"}), "hidden_activation"),
        ("phi3", json!({"rope_scaling": {"type": "linear", "factor": 2.0}}), "rope_scaling.rope_type"),
        ("qwen3", json!({"partial_rotary_factor": 0.5}), "partial_rotary_factor"),
        ("qwen3_moe", json!({}), "gemma3, gemma3_text, granite, llama, mistral, phi3, qwen2, qwen3, smollm3"),
    ] {
        assert_refused(family(model_type, changes), Code::UnsupportedModel, &["config.json", name]);
    }
    for (name, value) in [("num_hidden_layers", json!(1025)), ("max_position_embeddings", json!(1u64 << 40))]
    {
        assert_refused(with(json!({name: value})), Code::UnsupportedModel, &["config.json", name]);
    }
    let factors = json!({"rope_scaling": {"type": "longrope", "short_factor": [1.0], "long_factor": [1.0]}});
    assert_refused(family("phi3", factors), Code::BadModel, &["rope_scaling.short_factor", "6 pairs"]);
}

#[test]
fn broken_configs_are_refused_by_field() {
    for name in [
        "model_type",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "vocab_size",
    ] {
        assert_refused(with(json!({name: null})), Code::BadModel, &[name, "missing"]);
    }
    let cases = [
        (json!({"hidden_size": -1}), "hidden_size"),
        (json!({"hidden_size": "48"}), "hidden_size"),
        (json!({"rms_norm_eps": 0}), "rms_norm_eps"),
        (json!({"tie_word_embeddings": 1}), "tie_word_embeddings"),
        (json!({"eos_token_id": [1, "x"]}), "eos_token_id"),
        (json!({"rope_scaling": {"rope_type": "linear"}}), "rope_scaling.factor"),
        (json!({"rope_scaling": 3}), "rope_scaling"),
    ];
    for (changes, name) in cases {
        assert_refused(with(changes), Code::BadModel, &["config.json", name]);
    }
    assert_refused(Architecture::from_json(b"{"), Code::BadModel, &["config.json"]);
    assert_refused(Architecture::from_json(b"[]"), Code::BadModel, &["config.json"]);
}

/// Frequencies as transformers 5.23 computes them in f32; its power function may be off by a unit in
/// the last place, ours is rounded correctly.
#[test]
fn frequencies_equal_those_of_transformers() {
    let llama3 = json!({"hidden_size": 256, "head_dim": 64, "rope_theta": 5e5, "max_position_embeddings": 131_072,
        "rope_scaling": {"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192}});
    let llama3_bits: [u32; 32] = [
        0x3f800000, 0x3f29e1c6, 0x3ee177bc, 0x3e959ee3, 0x3e4693b0, 0x3e03c6a0, 0x3daee4ad, 0x3d681e67,
        0x3d1a08c8, 0x3ccc6f49, 0x3c87a9c3, 0x3c340d6d, 0x3beef74f, 0x3b9e9402, 0x3b527720, 0x3aa9279b,
        0x39e13620, 0x38cb98f7, 0x37a3418d, 0x3758ac81, 0x370fc8f8, 0x36bed4f4, 0x367d45c3, 0x3628126b,
        0x35df10c4, 0x359406cb, 0x35447610, 0x35025f34, 0x34ad07a7, 0x3465a54d, 0x341864a7, 0x33ca41b0,
    ];
    let linear = json!({"rope_scaling": {"rope_type": "linear", "factor": 4.0}});
    let linear_bits: [u32; 6] = [0x3e800000, 0x3d5c9d35, 0x3c3e1e95, 0x3b23d70a, 0x3a0d3169, 0x38f35a5c];
    for (changes, expected) in [(llama3, &llama3_bits[..]), (linear, &linear_bits[..])] {
        let config = with(changes).unwrap();
        let frequencies = rope(&config).inv_freq(1);
        assert_eq!(frequencies.len(), expected.len());
        for (i, (got, &want)) in frequencies.iter().zip(expected).enumerate() {
            let off = got.to_bits().abs_diff(want);
            // The band between the two wavelengths subtracts, which magnifies one unit.
            assert!(off <= 4, "frequency {i}: {got} is {off} units from {}", f32::from_bits(want));
        }
    }
}

#[test]
fn rope_table_turns_by_position() {
    let config = with(json!({})).unwrap();
    let (cos, sin) = rope(&config).table(9, 9);
    let frequencies = rope(&config).inv_freq(1);
    assert_eq!((cos.len(), sin.len()), (54, 54));
    for (i, (cos, sin)) in cos.iter().zip(&sin).enumerate() {
        let angle = f64::from((i / 6) as f32 * frequencies[i % 6]);
        assert_eq!((*cos, *sin), (angle.cos() as f32, angle.sin() as f32));
    }
}

#[test]
fn fixture_models_hold_the_tensors_of_their_configs() {
    for model in MODELS {
        let files = MemoryFiles::fixture(&format!("models/{model}/model"));
        let config = Architecture::from_json(&files.0["config.json"]).unwrap();
        let checkpoint = block_on(Checkpoint::open(&files)).unwrap();
        let expected = config.checkpoint_tensors();
        for (name, shape) in &expected {
            checkpoint.require(name, shape).unwrap();
        }
        assert_eq!(checkpoint.tensors.len(), expected.len(), "{model}");
    }
}
