//! Tokenizers from the metadata of GGUFs (`tools/reference/gguf_headers.py`), against Hugging Face's own of the same model.

use std::path::PathBuf;

use pollster::block_on;
use serde_json::Value;
use tabtune::data::tokenizer::Tokenizer;
use tabtune::error::{Code, Result};
use tabtune::format::gguf::Gguf;

use super::files::{MemoryFiles, assert_refused};
use super::gguf::{GgufFile, array, string, text, u32_value};

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn open(bytes: &[u8]) -> Result<Gguf> {
    block_on(Gguf::open(&MemoryFiles::of(&[("m.gguf", bytes)]), "m.gguf"))
}

fn gguf_of(kind: &str) -> Gguf {
    open(&std::fs::read(fixtures().join(format!("gguf/tokenizers/{kind}.gguf"))).unwrap()).unwrap()
}

fn loaded(gguf: &Gguf) -> Tokenizer {
    block_on(Tokenizer::load(&MemoryFiles(gguf.tokenizer().unwrap()))).unwrap()
}

fn tokenizer_of(kind: &str) -> Tokenizer {
    loaded(&gguf_of(kind))
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn the_tokenizer_of_a_gguf_gives_the_ids_and_texts_of_the_models_own() {
    let read = |path: &str| -> Value {
        serde_json::from_slice(&std::fs::read(fixtures().join(path)).unwrap()).unwrap()
    };
    let (all, nearer) = (read("tokens/kinds/expected.json"), read("gguf/tokenizers/expected.json"));
    let texts: Vec<String> = serde_json::from_value(all["texts"].clone()).unwrap();
    let mut wrong = Vec::new();
    for (kind, expected) in all["kinds"].as_object().unwrap() {
        let expected = nearer.get(kind).unwrap_or(expected);
        let (tokenizer, before) = (tokenizer_of(kind), ids(&expected["before"]));
        for (index, text) in texts.iter().enumerate() {
            let (plain, wanted) = (tokenizer.encode(text, false).unwrap(), ids(&expected["ids"][index]));
            if plain != wanted {
                wrong.push(format!("{kind} {text:?}\n  is {plain:?}\n  not {wanted:?}"));
            }
            let whole = tokenizer.encode(text, true).unwrap();
            assert_eq!(whole, [before.as_slice(), &plain].concat(), "{kind} {text:?}: what is put in front");
            let decoded = tokenizer.decode(&wanted, false).unwrap();
            assert_eq!(decoded, expected["decoded"][index].as_str().unwrap_or(text), "{kind} {text:?}");
        }
        for row in expected["decodes"].as_array().unwrap() {
            let text = tokenizer.decode(&ids(&row["ids"]), true).unwrap();
            assert_eq!(text, row["text"].as_str().unwrap(), "{kind} {}", row["ids"]);
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn special_tokens_and_the_template_come_with_the_tokenizer() {
    let gguf = gguf_of("llama2");
    let template = &gguf.tokenizer().unwrap()["chat_template.jinja"];
    assert_eq!(template, b"{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}");
    let tokenizer = tokenizer_of("llama2");
    assert_eq!(tokenizer.special_token("bos_token"), Some("<s>"));
    assert_eq!(tokenizer.eos_token_id(), Some(2));
    assert_eq!(tokenizer.special_token("unk_token"), Some("<unk>"));
    assert!(tokenizer.is_special(2) && !tokenizer.is_special(300));
    assert_eq!(tokenizer_of("qwen").special_token("pad_token"), Some("<|endoftext|>"));
}

/// llama.cpp's converter gives all tokens one score where it does not find SentencePiece's own file.
#[test]
fn tokens_of_one_score_are_joined_in_the_order_of_their_ids() {
    let texts = [
        "the quick brown fox",
        "It's John's, they're we'll",
        "Größe naïve 日本語",
        "def f(x):\n    return x + 1",
    ];
    let bytes = std::fs::read(fixtures().join("gguf/tokenizers/llama2.gguf")).unwrap();
    let key = b"tokenizer.ggml.scores";
    let start = bytes.windows(key.len()).position(|window| window == key).unwrap() + key.len() + 4 + 4;
    let count = u64::from_le_bytes(bytes[start..start + 8].try_into().unwrap()) as usize;
    let mut equal = bytes.clone();
    for score in equal[start + 8..start + 8 + 4 * count].chunks_exact_mut(4) {
        score.copy_from_slice(&(-1000_f32).to_le_bytes());
    }
    let (own, equal) = (loaded(&open(&bytes).unwrap()), loaded(&open(&equal).unwrap()));
    for text in texts {
        assert_eq!(equal.encode(text, false).unwrap(), own.encode(text, false).unwrap(), "{text:?}");
    }
}

#[test]
fn a_vocabulary_that_lies_is_refused_by_key() {
    let tokens = |words: &[&str]| {
        array(8, words.len() as u64, &words.iter().flat_map(|word| string(word)).collect::<Vec<_>>())
    };
    let numbers = |kind: u32, words: &[[u8; 4]]| array(kind, words.len() as u64, &words.concat());
    let types = |types: &[i32]| numbers(5, &types.iter().map(|kind| kind.to_le_bytes()).collect::<Vec<_>>());
    let scores =
        |scores: &[f32]| numbers(6, &scores.iter().map(|score| score.to_le_bytes()).collect::<Vec<_>>());
    let file = |model: &str, key: &str, value: Vec<u8>| {
        let mut file = GgufFile::new();
        for (name, value) in [
            ("model", text(model)),
            ("pre", text("gpt-2")),
            ("tokens", tokens(&["a", "b", "ab"])),
            ("merges", tokens(&["a b"])),
            ("scores", scores(&[0.0, -1.0, -2.0])),
            ("bos_token_id", u32_value(0)),
        ] {
            file = file.with(&format!("tokenizer.ggml.{name}"), value);
        }
        let key = format!("tokenizer.ggml.{key}");
        file.values.retain(|(name, _)| *name != key);
        file.with(&key, value).open().unwrap().tokenizer()
    };
    file("gpt2", "eos_token_id", u32_value(2)).unwrap();
    file("llama", "eos_token_id", u32_value(u32::MAX)).unwrap();
    for (model, key, value, code, what) in [
        ("bert", "x", text(""), Code::UnsupportedModel, "bert"),
        ("gpt2", "pre", text("strange"), Code::UnsupportedModel, "strange"),
        ("gpt2", "tokens", u32_value(1), Code::BadModel, "tokens"),
        ("gpt2", "tokens", tokens(&["a", "b", "a"]), Code::BadModel, "\"a\" as token 0 and 2"),
        ("gpt2", "token_type", types(&[1, 1]), Code::BadModel, "2 values for 3 tokens"),
        ("gpt2", "token_type", types(&[1, 1, 9]), Code::BadModel, "unknown type 9"),
        ("gpt2", "merges", tokens(&["a c"]), Code::BadModel, "\"a c\""),
        ("gpt2", "merges", tokens(&["ab"]), Code::BadModel, "\"ab\""),
        ("gpt2", "bos_token_id", u32_value(3), Code::BadModel, "is 3"),
        ("llama", "scores", scores(&[1.0]), Code::BadModel, "1 values for 3 tokens"),
        ("llama", "scores", scores(&[0.0, f32::NAN, 0.0]), Code::BadModel, "finite"),
        ("llama", "add_space_prefix", u32_value(1), Code::BadModel, "not a boolean"),
    ] {
        assert_refused(file(model, key, value), code, &["m.gguf", "tokenizer.ggml.", what]);
    }
}
