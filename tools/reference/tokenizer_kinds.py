"""Small tokenizers of the kinds that the families of models have, with the settings of their real files.

What is learnt is a little text; what is set, normalizer, pre-tokenizer, decoder, post-processor, added tokens and
`tokenizer_config.json`, is as the hub has it, so that each kind cuts text as its family does.
"""

import json
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from tokenizers_small import TRAINING_TEXT

TEXT = TRAINING_TEXT + [
    "def f(x):\n    return x + 1\n\n\nfor i in range(10):\n\tprint(i)  # it's\n",
    "été Größe naïve Ωμέγα привет мир 日本語 世界 안녕 สวัสดี नमस्ते שלום مرحبا",
    "It's John's, they're we'll I'd I'VE DON'T",
]

CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r"\s*[\r\n]+|\s+(?!\S)|\s+"
UPPER, LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
WORDS = rf"[^\r\n\p{{L}}\p{{N}}]?{UPPER}*{LOWER}+END|[^\r\n\p{{L}}\p{{N}}]?{UPPER}+{LOWER}*END"
LLAMA3 = rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|{TAIL}"
QWEN = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
TEKKEN = rf"{WORDS.replace('END', '')}|\p{{N}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{TAIL}"
O200K = rf"{WORDS.replace('END', CONTRACTIONS + '?')}|\p{{N}}{{1,3}}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{TAIL}"


def _added(tokens, special=True, **options):
    return [AddedToken(token, special=special, normalized=False, **options) for token in tokens]


def _byte_level(pre_tokenizer, specials, *, ordinary=(), normalizer=None, ignore_merges=False, bos=None):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=440, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.add_special_tokens(_added(specials))
    tokenizer.add_tokens(_added(ordinary, special=False))
    byte_level = processors.ByteLevel(trim_offsets=False)
    tokenizer.post_processor = byte_level
    if bos:
        template = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
        tokenizer.post_processor = processors.Sequence([byte_level, template])
    return tokenizer


def _split(pattern, **options):
    return pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), **{"behavior": "isolated", **options}),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def _sentencepiece(specials, added, *, bos, ordinary=()):
    """SentencePiece's BPE: a mark for blanks, and bytes for what is not in the vocabulary."""
    names = [*specials, *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    # Whole words are cut before the training, so that no merge crosses a blank.
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", behavior="merged_with_next")
    trainer = trainers.BpeTrainer(vocab_size=560, special_tokens=names, show_progress=False)
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.pre_tokenizer = None
    # The trainer marks the bytes special; in the real files they are ordinary entries of the vocabulary.
    data = json.loads(tokenizer.to_str())
    data["added_tokens"] = [token for token in data["added_tokens"] if token["id"] < len(specials)]
    tokenizer = Tokenizer.from_str(json.dumps(data))
    tokenizer.add_special_tokens(added)
    tokenizer.add_tokens(list(ordinary))
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A {bos}:1 $B:1", special_tokens=[(bos, tokenizer.token_to_id(bos))]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


LLAMA = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "tokenizer_class": "LlamaTokenizer"}
LLAMA_SPECIALS = ["<unk>", "<s>", "</s>"]


def llama2():
    tokenizer = _sentencepiece(LLAMA_SPECIALS, [], bos="<s>")
    return tokenizer, {**LLAMA, "add_bos_token": True, "add_eos_token": False, "legacy": False}


def metaspace():
    """Mistral's v0.3, in the newer spelling: the mark is put by a pre-tokenizer, before the first word alone."""
    tokenizer = _sentencepiece(LLAMA_SPECIALS, _added(["[INST]", "[/INST]"]), bos="<s>")
    tokenizer.normalizer = None
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="first", split=False)
    return tokenizer, {**LLAMA, "add_bos_token": True, "add_eos_token": False, "legacy": False}


def phi3():
    added = _added(["<|endoftext|>"]) + _added(["<|assistant|>", "<|system|>", "<|end|>", "<|user|>"], rstrip=True)
    tokenizer = _sentencepiece(LLAMA_SPECIALS, added, bos="<s>")
    tokenizer.post_processor = processors.TemplateProcessing(single="$A", pair="$A $B:1", special_tokens=[])
    config = {**LLAMA, "eos_token": "<|endoftext|>", "add_bos_token": False, "add_eos_token": False, "legacy": False}
    return tokenizer, config


def gemma():
    specials = ["<pad>", "<eos>", "<bos>", "<unk>"]
    runs = ["\n" * count for count in range(2, 6)] + ["▁" * count for count in range(2, 6)] + ["\t\t", "<table>"]
    added = _added(["<start_of_turn>", "<end_of_turn>"])
    tokenizer = _sentencepiece(specials, added, bos="<bos>", ordinary=_added(runs, special=False))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", behavior="merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    config = {"bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>"}
    config |= {"add_bos_token": True, "add_eos_token": False, "tokenizer_class": "GemmaTokenizer"}
    return tokenizer, config


def qwen():
    tokenizer = _byte_level(
        _split(QWEN),
        ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        ordinary=["<tool_call>", "</tool_call>", "<think>", "</think>"],
        normalizer=normalizers.NFC(),
    )
    config = {"bos_token": None, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    return tokenizer, {**config, "add_bos_token": False, "tokenizer_class": "Qwen2Tokenizer"}


def llama3():
    """SmolLM3 has the same pattern."""
    specials = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    tokenizer = _byte_level(_split(LLAMA3), specials, ignore_merges=True, bos="<|begin_of_text|>")
    return tokenizer, {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}


def tekken():
    specials = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]"]
    tokenizer = _byte_level(_split(TEKKEN), specials, ignore_merges=True, bos="<s>")
    return tokenizer, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def phi4():
    """Phi-4-mini's, which is GPT-4o's."""
    pre_tokenizer = _split(O200K, behavior="removed", invert=True)
    tokenizer = _byte_level(pre_tokenizer, ["<|endoftext|>", "<|user|>", "<|assistant|>", "<|end|>"])
    end = "<|endoftext|>"
    return tokenizer, {"bos_token": end, "eos_token": end, "unk_token": end, "tokenizer_class": "GPT2Tokenizer"}


def granite():
    """StarCoder's, in which every digit stands alone."""
    pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    specials = ["<|end_of_text|>", "<|start_of_role|>", "<|end_of_role|>", "<tool_call>"]
    tokenizer = _byte_level(pre_tokenizer, specials)
    end = "<|end_of_text|>"
    return tokenizer, {"bos_token": end, "eos_token": end, "tokenizer_class": "GPT2Tokenizer", "add_bos_token": False}


def gpt2():
    tokenizer = _byte_level(pre_tokenizers.ByteLevel(add_prefix_space=False), ["<|endoftext|>"])
    end = "<|endoftext|>"
    return tokenizer, {"bos_token": end, "eos_token": end, "tokenizer_class": "GPT2Tokenizer"}


# Each kind with the model_type in whose folder it lies.
KINDS = {
    "gemma": (gemma, "gemma3_text"),
    "gpt2": (gpt2, "gpt2"),
    "granite": (granite, "granite"),
    "llama2": (llama2, "llama"),
    "llama3": (llama3, "llama"),
    "metaspace": (metaspace, "mistral"),
    "phi3": (phi3, "phi3"),
    "phi4": (phi4, "phi3"),
    "qwen": (qwen, "qwen3"),
    "tekken": (tekken, "mistral"),
}


def write_kind(name, directory, template=None):
    """Writes tokenizer.json, tokenizer_config.json and of config.json what AutoTokenizer reads."""
    make, model_type = KINDS[name]
    tokenizer, config = make()
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(directory / "tokenizer.json"), pretty=False)
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **config}
    if template:
        config["chat_template"] = template
    (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    (directory / "config.json").write_text(json.dumps({"model_type": model_type}) + "\n")
