use serde_json::json;

use super::*;

#[test]
fn silent_options_have_the_defaults_of_trl() {
    let silent = RunConfig::from_json(&json!({})).unwrap();
    assert_eq!(silent, RunConfig::default());
    assert_eq!(
        silent,
        RunConfig::from_json(&json!({"train": {}, "quantization": null, "lora": null})).unwrap()
    );
    // As dataclasses.fields(trl.SFTConfig) gives them in TRL 1.16.0.
    let train = silent.train;
    assert_eq!(train.learning_rate, 2e-5);
    assert_eq!((train.max_steps, train.num_train_epochs), (None, 3.0));
    assert_eq!((train.per_device_train_batch_size, train.gradient_accumulation_steps), (8, 1));
    assert_eq!(
        (train.max_length, train.assistant_only_loss, train.completion_only_loss),
        (Some(1024), false, None)
    );
    assert_eq!((train.weight_decay, train.max_grad_norm), (0.0, 1.0));
    assert_eq!((train.adam_beta1, train.adam_beta2, train.adam_epsilon), (0.9, 0.999, 1e-8));
    assert_eq!(
        (train.seed, train.shuffle_dataset, train.logging_steps, train.eval_steps),
        (42, false, 10.0, None)
    );
    assert_eq!(train.gradient_checkpointing, GradientCheckpointing::Auto);
    assert!(!silent.quantization.load_in_4bit && !silent.quantization.bnb_4bit_use_double_quant);
}

#[test]
fn options_are_read() {
    let config = RunConfig::from_json(&json!({
        "quantization": {"load_in_4bit": true, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": true},
        "lora": {"r": 4},
        "train": {"max_steps": 7, "learning_rate": 1, "max_length": null, "completion_only_loss": false,
                  "gradient_checkpointing": true, "eval_steps": 0.25, "lr_scheduler_type": "constant_with_warmup"},
        "init_adapter": "adapter",
    }))
    .unwrap();
    assert!(config.quantization.load_in_4bit && config.quantization.bnb_4bit_use_double_quant);
    assert_eq!(config.lora, json!({"r": 4}));
    assert_eq!(
        (config.train.max_steps, config.train.learning_rate, config.train.max_length),
        (Some(7), 1.0, None)
    );
    assert_eq!(config.train.completion_only_loss, Some(false));
    assert_eq!(config.train.gradient_checkpointing, GradientCheckpointing::On);
    assert_eq!(config.init_adapter.as_deref(), Some("adapter"));
    assert_eq!((every_steps(0.25, 10), every_steps(10.0, 5)), (3, 10));
}

#[test]
fn values_that_ask_for_what_is_done_anyway_are_accepted() {
    let config = json!({
        "quantization": {"load_in_4bit": true, "load_in_8bit": false, "quant_method": "bitsandbytes",
                         "bnb_4bit_quant_storage": "uint8"},
        "lora": {"r": 8, "task_type": "CAUSAL_LM", "bias": "none", "inference_mode": false, "fan_in_fan_out": false,
                 "use_dora": false, "init_lora_weights": true, "modules_to_save": null, "rank_pattern": {},
                 "target_modules": null},
        "train": {"optim": "adamw_torch", "report_to": "none", "push_to_hub": false, "bf16": false},
    });
    let config = RunConfig::from_json(&config).unwrap();
    assert_eq!(config.train, TrainOptions::default());
    assert_eq!(LoraConfig::from_json(&config.lora).unwrap(), LoraConfig::default());
    assert_eq!(config.notices().count(), 0);
}

#[test]
fn what_is_done_in_another_way_than_asked_is_told() {
    let config = RunConfig::from_json(&json!({
        "quantization": {"bnb_4bit_compute_dtype": "bfloat16"},
        "train": {"bf16": true, "learning_rate": 1e9},
    }))
    .unwrap();
    assert_eq!(config.quantization.bnb_4bit_compute_dtype, ComputeDtype::Float32);
    let codes: Vec<&str> = config.notices().map(|notice| notice.code.as_str()).collect();
    assert_eq!(codes, ["computed-in-float32", "computed-in-float32", "high-learning-rate"]);
}

/// As in transformers, a run that is told so has weights in 16 bits; other runs have none of it, whatever their options say,
/// and go on with checkpoints that never heard of it.
#[test]
fn weights_of_16_bits_are_for_all_weights() {
    let train = |options: Value| TrainOptions::from_json(&options).unwrap();
    for (option, format) in [("bf16", WeightFormat::Bf16), ("fp16", WeightFormat::F16)] {
        for (name, value, is_in_16_bits) in [
            ("finetuning_type", "full", true),
            ("finetuning_type", "lora", false),
            ("optim", "mezo", false),
            ("optim", "sgd", true),
        ] {
            let mut asked = json!({"finetuning_type": "full"});
            asked[name] = value.into();
            let plain = train(asked.clone());
            asked[option] = true.into();
            let asked = train(asked);
            let expected = if is_in_16_bits { format } else { WeightFormat::F32 };
            assert_eq!(asked.weight_format(), expected, "{option} {name} {value}");
            assert_eq!(asked.notices.is_empty(), is_in_16_bits, "{option} {name} {value}");
            assert_eq!(asked.identity() == plain.identity(), !is_in_16_bits, "{option} {name} {value}");
        }
    }
}

#[test]
fn a_wrong_option_is_named() {
    for (config, expected) in [
        (
            json!({"train": {"learning_rat": 1}}),
            "train.learning_rat is not an option; did you mean train.learning_rate?",
        ),
        (json!({"train": {"zzz": 1}}), "train.zzz is not an option"),
        (json!({"trian": {}}), "trian is not an option; did you mean train?"),
        (
            json!({"quantization": {"load_in_4bit": true, "load_in_8bit": true}}),
            "quantization.load_in_4bit and quantization.load_in_8bit are both true; set one of them",
        ),
        (
            json!({"quantization": {"requantize": "q4_k"}}),
            "quantization.requantize is \"q4_k\", but must be \"nf4\" or null",
        ),
        (
            json!({"quantization": {"load_in_4bit": true, "bnb_4bit_quant_type": "fp4"}}),
            "quantization.bnb_4bit_quant_type is \"fp4\"",
        ),
        (
            json!({"quantization": {"load_in_8bit": true, "llm_int8_skip_modules": ["(o_proj"]}}),
            "quantization.llm_int8_skip_modules: \"(o_proj\" is neither the name of a module nor a regular expression",
        ),
        (
            json!({"quantization": {"bnb_4bit_compute_dtype": "float8"}}),
            "quantization.bnb_4bit_compute_dtype is \"float8\", but must be \"float16\", \"float32\" or \"bfloat16\"",
        ),
        (
            json!({"max_steps": 1}),
            "max_steps is not an option; it belongs into \"train\": {\"train\": {\"max_steps\": …}}",
        ),
        (json!({"load_in_4bit": true}), "load_in_4bit is not an option; it belongs into \"quantization\""),
        (json!({"lora": {"r": 4, "alpha": 8}}), "lora.alpha is not an option; did you mean lora.lora_alpha?"),
        (
            json!({"lora": {"use_qalora": true}}),
            "lora.use_qalora is true, but only false or null is supported",
        ),
        (json!({"lora": {"bias": "both"}}), "lora.bias is \"both\": unknown variant `both`, expected one of"),
        (
            json!({"train": {"finetuning_type": "full"}, "quantization": {"load_in_8bit": true}}),
            "train.finetuning_type is \"full\", which trains weights in 32 bits: leave",
        ),
        (
            json!({"train": {"finetuning_type": "full"}, "lora": {"r": 4}}),
            "train.finetuning_type is \"full\", which trains no adapter, but there are options of lora",
        ),
        (
            json!({"train": {"bf16": true, "fp16": true}}),
            "train.bf16 and train.fp16 are both true; set one of them",
        ),
        (
            json!({"train": {"optim": "lion"}}),
            "train.optim is \"lion\": unknown variant `lion`, expected one of",
        ),
        (json!({"train": {"learning_rate": "fast"}}), "train.learning_rate is \"fast\": invalid type"),
        (json!({"train": {"learning_rate": -1}}), "train.learning_rate is -1, but must be at least 0"),
        (json!({"train": {"max_steps": 0}}), "train.max_steps is 0, but must be at least 1"),
        (json!({"train": {"max_steps": -2}}), "train.max_steps is -2, but must be -1 or at least 1"),
        (json!({"train": {"max_steps": 1.5}}), "train.max_steps is 1.5: invalid type"),
        (json!({"train": {"num_train_epochs": 0}}), "train.num_train_epochs is 0, but must be above 0"),
        (
            json!({"train": {"per_device_train_batch_size": 0}}),
            "train.per_device_train_batch_size is 0, but must be at least 1",
        ),
        (
            json!({"train": {"per_device_train_batch_size": 1_000_000_000}}),
            "train.per_device_train_batch_size is 1000000000, but must be at most 65536",
        ),
        (
            json!({"train": {"gradient_accumulation_steps": -1}}),
            "train.gradient_accumulation_steps is -1: invalid value",
        ),
        (json!({"train": {"max_length": 1}}), "train.max_length is 1, but must be at least 2"),
        (json!({"train": {"adam_beta1": 1}}), "train.adam_beta1 is 1, but must be at least 0 and below 1"),
        (json!({"train": {"warmup_ratio": 2}}), "train.warmup_ratio is 2, but must be between 0 and 1"),
        (json!({"train": {"logging_steps": 0}}), "train.logging_steps is 0, but must be above 0"),
        (
            json!({"train": {"eval_steps": 2.5}}),
            "train.eval_steps is 2.5, but above 1 it must be a whole number",
        ),
        (
            json!({"train": {"lr_scheduler_type": "polynomial"}}),
            "train.lr_scheduler_type is \"polynomial\": unknown variant",
        ),
        (
            json!({"train": {"gradient_checkpointing": "yes"}}),
            "train.gradient_checkpointing is \"yes\", but must be true, false or \"auto\"",
        ),
        (json!({"train": {"seed": -1}}), "train.seed is -1: invalid value"),
        (json!({"train": {"shuffle_dataset": null}}), "train.shuffle_dataset is null: invalid type"),
        (json!({"train": 3}), "train must be an object, but is 3"),
        (json!({"lora": []}), "lora must be an object, but is []"),
        (json!({"lora": {"r": 4, "alpha": 8}}), "lora.alpha"),
        (json!({"lora": {"r": 0}}), "lora.r is 0"),
        (json!({"train": {"max_eval_samples": 0}}), "train.max_eval_samples is 0, but must be at least 1"),
        (json!([]), "config must be an object, but is []"),
    ] {
        let error = RunConfig::from_json(&config).unwrap_err();
        assert_eq!(error.code, Code::BadOption, "{config}");
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}
