"""The small tokenizers of the fixtures: one byte-level BPE in two dresses and one of SentencePiece's kind."""

import json
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

TRAINING_TEXT = [
    "A browser tab can fine-tune a small language model on its own graphics card.",
    "The weights of the model are stored in four bits; the adapter is trained in full precision.",
    "user asks a question and the assistant gives an answer. The system says how to answer.",
    "What is the capital of France? The capital of France is Paris.",
    "Which rivers run through Lyon? The Rhône and the Saône run through Lyon.",
    "How many planets are there? There are eight planets around the sun.",
    "The quick brown fox jumps over the lazy dog, and the dog sleeps on in the warm sun.",
    "One, two, three, four, five, six, seven, eight, nine, ten. 1 2 3 4 5 6 7 8 9 10",
    "The loss of a step is the mean over all the labelled tokens of the step.",
    "Write a short poem about the sea. The sea is wide, the sea is deep, it sings the sailors all to sleep.",
]

# SmolLM2's template: no generation markers, and a default system message when the chat has none.
CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a small model.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)

# The same format with markers that leave the newline after <|im_end|> out of the labels.
CHATML_GENERATION = """{%- for message in messages %}
    {%- if message['role'] == 'assistant' %}
        {{- '<|im_start|>assistant\n' }}
        {%- generation %}
        {{- message['content'] + '<|im_end|>' }}
        {%- endgeneration %}
        {{- '\n' }}
    {%- else %}
        {{- '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
"""

# Llama 3's: the template writes the BOS itself, contents are trimmed.
LLAMA3 = """{%- set ns = namespace(first=true) %}
{%- for message in messages %}
    {%- if message.role not in ['system', 'user', 'assistant'] %}
        {{- raise_exception('Unknown role ' ~ message.role) }}
    {%- endif %}
    {%- if ns.first %}
        {{- bos_token }}
        {%- set ns.first = false %}
    {%- endif %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}
"""

# TinyLlama's, as shipped: roles are plain text, whitespace is governed by trim_blocks and lstrip_blocks.
ZEPHYR = """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>
' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>
' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>
'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""


def _thoughts(begin, end):
    """In the manner of Qwen 3: thoughts are shown behind the last question alone, where there are none as empty ones."""
    return """{%- set ns = namespace(last=-1) %}
{%- for message in messages %}
    {%- if message.role == 'user' %}
        {%- set ns.last = loop.index0 %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\n' }}
    {%- if message.role == 'assistant' %}
        {%- set content = message.content %}
        {%- set thought = '' %}
        {%- if '</think>' in content %}
            {%- set thought = content.split('</think>')[0].split('<think>')[-1].strip('\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\n') %}
        {%- endif %}
        BEGIN
        {%- if loop.index0 > ns.last %}
            {{- '<think>\n' + thought + '\n</think>\n\n' }}
        {%- endif %}
        {{- content + '<|im_end|>\n' }}
        END
    {%- else %}
        {{- message.content + '<|im_end|>\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
""".replace("        BEGIN\n", begin).replace("        END\n", end)


def _closing(begin, end):
    """In the manner of gpt-oss: the last answer closes with another mark than those before. Contents are trimmed."""
    return """{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\n' }}
    {%- if message.role == 'assistant' %}
        BEGIN
        {{- message.content | trim + ('<|endoftext|>' if loop.last else '<|im_end|>') }}
        END
    {%- else %}
        {{- message.content | trim + '<|im_end|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
""".replace("        BEGIN\n", begin).replace("        END\n", end)


def _moved(begin, end):
    """In the manner of Mistral's: answers have no header, and the system's words stand in the last question."""
    return """{{- bos_token }}
{%- set system = messages[0].content + '\n\n' if messages[0].role == 'system' else '' %}
{%- set ns = namespace(last=-1) %}
{%- for message in messages %}
    {%- if message.role == 'user' %}
        {%- set ns.last = loop.index0 %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.role == 'user' %}
        {{- '[INST] ' + (system if loop.index0 == ns.last else '') + message.content + '[/INST]' }}
    {%- elif message.role == 'assistant' %}
        BEGIN
        {{- ' ' + message.content + eos_token }}
        END
    {%- endif %}
{%- endfor %}
""".replace("        BEGIN\n", begin).replace("        END\n", end)


GENERATION = ("        {%- generation %}\n", "        {%- endgeneration %}\n")

# SmolLM2's template with markers around what it writes for the assistant.
CHATML_MARKED = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a small model.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n'}}{% if message['role'] == 'assistant' %}"
    "{% generation %}{{ message['content'] + '<|im_end|>' + '\n'}}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' + '\n'}}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def _byte_level(specials, vocab_size, pre_tokenizer):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TRAINING_TEXT, trainer)
    return tokenizer


def smollm2_like(vocab_size=400):
    """SmolLM2's dress: single digits, padding and end of turn are one token."""
    pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True),
        ]
    )
    tokenizer = _byte_level(["<|endoftext|>", "<|im_start|>", "<|im_end|>"], vocab_size, pre_tokenizer)
    config = {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>"}
    return tokenizer, config


def llama3_like(vocab_size=384):
    """Llama 3's dress: a BOS is added to plain text by the post-processor, and there is no padding token."""
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    specials = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    tokenizer = _byte_level(specials, vocab_size, pre_tokenizer)
    bos = "<|begin_of_text|>"
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=False),
            processors.TemplateProcessing(
                single=f"{bos} $A",
                pair=f"{bos} $A {bos}:1 $B:1",
                special_tokens=[(bos, tokenizer.token_to_id(bos))],
            ),
        ]
    )
    return tokenizer, {"bos_token": bos, "eos_token": "<|eot_id|>"}


def llama2_like(vocab_size=500):
    """Llama 2's dress: spaces as a mark, unknown characters as bytes, a BOS on plain text."""
    specials = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=specials, show_progress=False)
    # Whole words are cut before the training, so that no merge crosses a space, as in SentencePiece.
    tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", behavior="merged_with_next")
    tokenizer.train_from_iterator([text.replace("ô", "o") for text in TRAINING_TEXT], trainer)
    tokenizer.pre_tokenizer = None
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)]
    )
    # The trainer marks the byte tokens special; in Llama 2 they are ordinary entries of the vocabulary.
    data = json.loads(tokenizer.to_str())
    data["added_tokens"] = [token for token in data["added_tokens"] if token["id"] < 3]
    tokenizer = Tokenizer.from_str(json.dumps(data))
    return tokenizer, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "</s>"}


DRESSES = {
    "chatml": (smollm2_like, CHATML),
    "chatml_generation": (smollm2_like, CHATML_GENERATION),
    "llama3": (llama3_like, LLAMA3),
    "zephyr": (llama2_like, ZEPHYR),
    "thoughts": (smollm2_like, _thoughts("", "")),
    "closing": (smollm2_like, _closing("", "")),
    "moved": (llama2_like, _moved("", "")),
}

# The same templates with generation markers: what TRL learns of a chat under the plain ones is read off these.
MARKED = {
    "chatml": CHATML_MARKED,
    "thoughts": _thoughts(*GENERATION),
    "closing": _closing(*GENERATION),
    "moved": _moved(*GENERATION),
}


def write_tokenizer(name, directory):
    """Writes tokenizer.json and tokenizer_config.json of the named dress and returns the vocabulary's size."""
    make, template = DRESSES[name]
    tokenizer, config = make()
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(directory / "tokenizer.json"), pretty=False)
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 2048,
        "clean_up_tokenization_spaces": False,
        "add_prefix_space": False,
        **config,
        "chat_template": template,
    }
    (directory / "tokenizer_config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    return tokenizer.get_vocab_size()
