"""The small models of tests/fixtures/models: sizes, checkpoint, rows and the three-part config of each."""

QUESTIONS = [
    ("What is the capital of France?", "The capital of France is Paris."),
    ("Two rivers of Lyon?", "The Rhône and the Saône."),
    ("How many planets are there?", "Eight."),
    ("Count to five 🎉", "One, two, three, four, five."),
    ("Write a line about the sea.", "The sea is wide, the sea is deep, it sings the sailors all to sleep."),
    ("And in German? Größe?", "Groß, größer, am größten — 日本語 too 🙂"),
    ("Where is my data?", "In the browser, and nowhere else."),
    ("1 + 2", "3"),
    ("Say nothing.", "..."),
    ("What does the fox do?", "The quick brown fox jumps over the lazy dog, and the dog sleeps on."),
    ("How many bits has a weight?", "Four."),
]

TEXTS = [{"text": f"{question} {answer}"} for question, answer in QUESTIONS[:7]]
PAIRS = [{"prompt": question, "completion": " " + answer} for question, answer in QUESTIONS]
CHATS = [
    {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}
    for question, answer in QUESTIONS
]
CHATS_OF_TURNS = [
    {"messages": [*first["messages"], *second["messages"]]}
    for first, second in zip(CHATS[:6], reversed(CHATS[5:]), strict=True)
] + [{"messages": [{"role": "system", "content": "Be brief."}, *CHATS[2]["messages"]]}]
CHAT_PAIRS = [
    {"prompt": row["messages"][:1], "completion": row["messages"][1:]} for row in CHATS[:7]
]


def llama(hidden, ffn, heads, key_value_heads, layers, tied, dtype, **more):
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": ffn,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": key_value_heads,
        "hidden_act": "silu",
        "max_position_embeddings": 256,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": tied,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "torch_dtype": dtype,
        **more,
    }


def without(config, *keys):
    return {key: value for key, value in config.items() if key not in keys}


NF4 = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": False}
NF4_DOUBLE = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True}

CASES = {
    # Every size is off: hidden is no multiple of 8, no row of a weight is one of 64.
    "tied_f32_odd_sizes": {
        "seed": 1,
        "tokenizer": "chatml",
        "model": llama(60, 90, 3, 1, 2, True, "float32"),
        "rows": TEXTS,
        "config": {
            "quantization": NF4_DOUBLE,
            "lora": {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"},
            "train": {
                "learning_rate": 2e-3,
                "max_steps": 10,
                "per_device_train_batch_size": 3,
                "warmup_steps": 2,
                "lr_scheduler_type": "linear",
                "shuffle_dataset": False,
            },
        },
    },
    "llama3_bf16_untied": {
        "seed": 2,
        "tokenizer": "llama3",
        "model": llama(
            72,
            100,
            6,
            2,
            2,
            False,
            "bfloat16",
            bos_token_id=0,
            eos_token_id=4,
            rope_theta=500000.0,
            rope_scaling={
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        ),
        "rows": PAIRS,
        "config": {
            "quantization": NF4,
            "lora": {"r": 8, "lora_alpha": 8, "target_modules": "all-linear", "use_rslora": True},
            "train": {
                "learning_rate": 1e-3,
                "max_steps": 10,
                "per_device_train_batch_size": 2,
                "gradient_accumulation_steps": 2,
                "lr_scheduler_type": "cosine",
                "max_grad_norm": 0.0,
                "shuffle_dataset": False,
            },
        },
    },
    # Rows are longer than the window, and a head is wider than hidden_size / num_attention_heads.
    "mistral_f16_window": {
        "seed": 3,
        "tokenizer": "chatml_generation",
        "model": {
            **llama(64, 128, 6, 2, 2, False, "float16"),
            "architectures": ["MistralForCausalLM"],
            "model_type": "mistral",
            "head_dim": 20,
            "sliding_window": 16,
        },
        "rows": CHATS_OF_TURNS,
        "config": {
            "quantization": NF4_DOUBLE,
            "lora": {"r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"]},
            "train": {
                "learning_rate": 3e-3,
                "max_steps": 10,
                "per_device_train_batch_size": 2,
                "assistant_only_loss": True,
                "lr_scheduler_type": "constant_with_warmup",
                "warmup_steps": 3,
                "weight_decay": 0.1,
                "shuffle_dataset": False,
            },
        },
    },
    "sharded_f16_dense": {
        "seed": 4,
        "tokenizer": "chatml",
        "shards": 3,
        "model": llama(64, 128, 8, 8, 2, True, "float16", rope_theta=100000.0),
        "rows": CHATS,
        "config": {
            "quantization": {"load_in_4bit": False},
            "lora": {"r": 2, "lora_alpha": 4, "target_modules": "all-linear"},
            "train": {
                "learning_rate": 2e-3,
                "max_steps": 10,
                "per_device_train_batch_size": 4,
                "max_length": 54,
                "assistant_only_loss": True,
                "lr_scheduler_type": "cosine",
                "warmup_ratio": 0.2,
                "shuffle_dataset": False,
            },
        },
    },
    # The config as transformers 5 writes it: rope_parameters and dtype.
    "llama2_bf16_dense": {
        "seed": 5,
        "tokenizer": "zephyr",
        "model": {
            **without(llama(72, 100, 3, 1, 2, False, None, max_position_embeddings=512), "torch_dtype", "rope_theta"),
            "dtype": "bfloat16",
            "head_dim": 24,
            "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
        },
        "rows": CHAT_PAIRS,
        "config": {
            "lora": {"r": 5, "lora_alpha": 10, "target_modules": ["k_proj", "o_proj", "down_proj"]},
            "train": {
                "learning_rate": 1e-3,
                "num_train_epochs": 3,
                "per_device_train_batch_size": 1,
                "gradient_accumulation_steps": 3,
                "completion_only_loss": True,
                "lr_scheduler_type": "constant",
                "shuffle_dataset": False,
            },
        },
    },
    # As SmolLM2 is made, with rows cut by max_length; TRL's and PEFT's defaults wherever they can be left.
    "smollm2_f16_tied": {
        "seed": 6,
        "tokenizer": "chatml",
        "model": llama(100, 148, 5, 1, 2, True, "float16", rope_theta=100000.0),
        "rows": CHATS,
        "config": {
            "quantization": NF4_DOUBLE,
            "lora": {},
            "train": {
                "learning_rate": 5e-3,
                "max_steps": 10,
                "max_length": 40,
                "max_grad_norm": 0.3,
                "adam_beta2": 0.95,
                "adam_epsilon": 1e-6,
                "shuffle_dataset": False,
            },
        },
    },
    "untied_f32_dense": {
        "seed": 7,
        "tokenizer": "llama3",
        "model": llama(48, 84, 4, 2, 1, False, "float32", bos_token_id=0, eos_token_id=4, rms_norm_eps=1e-3),
        "rows": PAIRS,
        "config": {
            "lora": {"r": 3, "lora_alpha": 6, "target_modules": ["gate_proj", "up_proj", "q_proj"]},
            "train": {
                "learning_rate": 2e-3,
                "num_train_epochs": 2,
                "per_device_train_batch_size": 3,
                "completion_only_loss": False,
                "lr_scheduler_type": "linear",
                "shuffle_dataset": False,
            },
        },
    },
}
