"""The cases of tests/fixtures/preferences: model, rows and options of each."""

from cases import NF4, NF4_DOUBLE

# A question, a good answer and a bad one.
ANSWERS = [
    ("What is the capital of France?", "Paris.", "The capital of France is Lyon."),
    ("Two rivers of Lyon?", "The Rhône and the Saône.", "The sea 🌊"),
    ("How many planets are there?", "There are eight planets.", "There are ten planets."),
    ("Count to five 🎉", "One, two, three, four, five.", "1 2 3"),
    ("Write a line about the sea.", "The sea is wide, the sea is deep.", "No."),
    ("Und auf Deutsch? Größe?", "Groß, größer 🙂", "The answer is in full precision, and the question is not."),
    ("Where is my data?", "In the browser, and nowhere else.", "In the browser"),
    ("1 + 2", "3", "4, and the dog sleeps on in the warm sun"),
    ("What does the fox do?", "The quick brown fox jumps over the lazy dog.", "It sleeps."),
]

PLAIN = [{"prompt": asked, "chosen": f" {good}", "rejected": f" {bad}"} for asked, good, bad in ANSWERS]
PROMPTLESS = {"prompt": "", "chosen": "The sea is wide.", "rejected": "No."}
# The prompt stands in the answers.
IMPLICIT = [{"chosen": f"{asked} {good}", "rejected": f"{asked} {bad}"} for asked, good, bad in ANSWERS]


def turn(role, content):
    return [{"role": role, "content": content}]


CHATS = [
    {"prompt": turn("user", asked), "chosen": turn("assistant", good), "rejected": turn("assistant", bad)}
    for asked, good, bad in ANSWERS
]
IMPLICIT_CHATS = [{"chosen": row["prompt"] + row["chosen"], "rejected": row["prompt"] + row["rejected"]} for row in CHATS]
RATED_CHATS = [
    {
        "prompt": turn("system", "Be brief.") + turn("user", asked),
        "completion": turn("assistant", bad if index % 2 else good),
        "label": index % 2 == 0,
    }
    for index, (asked, good, bad) in enumerate([*ANSWERS[:5], *ANSWERS[6:8]])
]
# One prompt is as long as a row may be, and some answers are cut.
LONG = [
    *PLAIN[:4],
    {"prompt": "How many planets are there? " * 6, "chosen": "Eight.", "rejected": "Ten."},
    {"prompt": "Count.", "chosen": " One, two, three, four, five, six." * 3, "rejected": " No."},
    *PLAIN[4:7],
]
LONG_RATED = [
    {"prompt": row["prompt"], "completion": row["rejected" if index % 3 == 2 else "chosen"], "label": index % 3 != 2}
    for index, row in enumerate(LONG)
]


def lora(**options):
    return {"r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "down_proj"], **options}


def train(method, **options):
    return {
        "method": method,
        "learning_rate": 2e-3,
        "max_steps": 10,
        "per_device_train_batch_size": 3,
        "shuffle_dataset": False,
        **options,
    }


# Their tokenizers begin plain text with a BOS, as TRL's experimental trainers do with every tokenizer that knows one.
LLAMA3 = {"model": "models/llama3_bf16_untied", "quantization": NF4_DOUBLE}
LLAMA = {"model": "families/llama_bf16_yarn"}
GRANITE = {"model": "families/granite_f16_biases"}
PHI3 = {
    "model": "families/phi3_f32_plain",
    "quantization": NF4,
    "lora": lora(target_modules=["qkv_proj", "down_proj"], use_rslora=True),
}
GEMMA3 = {"model": "families/gemma3text_bf16_tied"}
SMALL = {"model": "models/untied_f32_dense"}
# Their tokenizers know a BOS and begin no text with it.
QWEN2 = {"model": "families/qwen2_bf16_tied", "quantization": NF4_DOUBLE}
QWEN3 = {"model": "families/qwen3_f32_biases"}


def case(of, rows, method, **options):
    return {**of, "lora": options.pop("lora", of.get("lora", lora())), "train": train(method, **options), "rows": rows}


DPO = {
    "dpo_nf4": case(QWEN2, CHATS, "dpo", warmup_steps=2),
    # No dropout is active, whatever the adapter says.
    "dpo_bf16": case(LLAMA, PLAIN, "dpo", beta=0.3, weight_decay=0.1, lora=lora(lora_dropout=0.1)),
    "dpo_biases": case(QWEN3, IMPLICIT_CHATS, "dpo", max_grad_norm=0.3),
    # The last step of an epoch has two micro-batches, not three, and the last of these one row, not two.
    "dpo_accumulation": case(
        PHI3, IMPLICIT, "dpo", per_device_train_batch_size=2, gradient_accumulation_steps=3, lr_scheduler_type="cosine"
    ),
    "dpo_cut": case(GEMMA3, LONG, "dpo", max_length=24),
    # The reference is the adapter that the run begins from.
    "dpo_from_start": case(SMALL, PLAIN, "dpo", reference="start"),
    "dpo_dora": case(LLAMA3, CHATS, "dpo", lora=lora(target_modules=["v_proj", "up_proj"], use_dora=True)),
    "dpo_full": {**SMALL, "train": train("dpo", finetuning_type="full", learning_rate=5e-4), "rows": PLAIN},
}

LOSSES = {
    # Some rows have the margin already, and no loss.
    "dpo_hinge": case(QWEN3, PLAIN, "dpo", loss_type="hinge", beta=0.22, learning_rate=8e-3),
    # The larger beta, the smaller the margin that is aimed at. An answer without a prompt is divided by its first token too,
    # which is never predicted.
    "dpo_ipo": case(QWEN3, [PROMPTLESS, *PLAIN[1:]], "dpo", loss_type="ipo", beta=0.4),
    "dpo_robust": case(GRANITE, CHATS, "dpo", loss_type="robust", label_smoothing=0.2),
    "dpo_apo_zero": case(SMALL, PLAIN, "dpo", loss_type="apo_zero"),
    "dpo_apo_down": case(SMALL, PLAIN, "dpo", loss_type="apo_down"),
    # Of these, `robust` alone looks at the smoothing.
    "dpo_list": case(
        LLAMA3,
        PLAIN,
        "dpo",
        loss_type=["sigmoid", "robust", "ipo", "sft"],
        loss_weights=[0.8, 0.5, 0.1, 0.3],
        label_smoothing=0.1,
        beta=0.2,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=2,
    ),
}

# Where TRL's experimental trainers accumulate, no epoch ends with a short micro-batch behind full ones: of a step with one
# they log no more rows of each micro-batch than the short one has.
WITHOUT_REFERENCE = {
    "orpo_nf4": case(LLAMA3, PLAIN, "orpo"),
    "orpo_f16_biases": case(
        GRANITE, PLAIN[:8], "orpo", beta=0.5, per_device_train_batch_size=2, gradient_accumulation_steps=2
    ),
    "orpo_gemma3": case(GEMMA3, PLAIN, "orpo"),
    "simpo_nf4": case(PHI3, PLAIN, "simpo", beta=2.0, simpo_gamma=1.0),
    "simpo_f16_biases": case(GRANITE, PLAIN, "simpo", label_smoothing=0.1),
    "simpo_gemma3": case(GEMMA3, PLAIN, "simpo", per_device_train_batch_size=2, gradient_accumulation_steps=2),
    "cpo_nf4": case(LLAMA3, PLAIN, "cpo", label_smoothing=0.1),
    "cpo_f16_biases": case(GRANITE, PLAIN[:8], "cpo", per_device_train_batch_size=2, gradient_accumulation_steps=3),
    "cpo_phi3": case(PHI3, PLAIN, "cpo", cpo_alpha=0.25),
}

KTO = {
    # The last group of an epoch has one row, whose other answer is its own.
    "kto_nf4": case(QWEN2, RATED_CHATS, "kto", desirable_weight=1.5, undesirable_weight=0.5),
    # A row that is dropped is in no group.
    "kto_cut": case(SMALL, LONG_RATED, "kto", max_length=20),
    # All good answers come first: of these micro-batches one has only good ones and one only bad ones.
    "kto_pairs": case(QWEN3, CHATS[:5], "kto", per_device_train_batch_size=4, gradient_accumulation_steps=2, beta=0.3),
}

CASES = {**DPO, **LOSSES, **WITHOUT_REFERENCE, **KTO}
