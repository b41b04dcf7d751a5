//! The tokenizers of the families of models against Hugging Face's, on texts that are awkward to cut.

use pollster::block_on;
use serde_json::{Value, json};
use tabtune::data::tokenizer::Tokenizer;

use super::{Folder, InMemory, fixtures};

/// The texts, and each kind's name, tokenizer and what transformers 5.23 makes of the texts with it.
fn kinds() -> (Vec<String>, Vec<(String, Tokenizer, Value)>) {
    let folder = fixtures().join("kinds");
    let mut read: Value =
        serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let texts = serde_json::from_value(read["texts"].take()).unwrap();
    let load = |(name, expected): (&String, &Value)| {
        let tokenizer = block_on(Tokenizer::load(&Folder(folder.join(name)))).unwrap();
        (name.clone(), tokenizer, expected.clone())
    };
    (texts, read["kinds"].as_object().unwrap().iter().map(load).collect())
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn each_kind_of_tokenizer_gives_the_ids_that_transformers_gives() {
    let (texts, kinds) = kinds();
    let mut wrong = Vec::new();
    for (name, tokenizer, expected) in &kinds {
        let before = ids(&expected["before"]);
        for (text, expected) in texts.iter().zip(expected["ids"].as_array().unwrap()) {
            let (plain, expected) = (tokenizer.encode(text, false).unwrap(), ids(expected));
            if plain != expected {
                wrong.push(format!("{name} {text:?}\n  is {plain:?}\n  not {expected:?}"));
            }
            let whole = tokenizer.encode(text, true).unwrap();
            assert_eq!(whole, [before.as_slice(), &plain].concat(), "{name} {text:?}: what is put in front");
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn each_kind_of_tokenizer_gives_the_text_that_transformers_gives() {
    let (texts, kinds) = kinds();
    for (name, tokenizer, expected) in &kinds {
        for (index, text) in texts.iter().enumerate() {
            let decoded = tokenizer.decode(&ids(&expected["ids"][index]), false).unwrap();
            assert_eq!(decoded, expected["decoded"][index].as_str().unwrap_or(text), "{name} {text:?}");
        }
        for row in expected["decodes"].as_array().unwrap() {
            let text = tokenizer.decode(&ids(&row["ids"]), true).unwrap();
            assert_eq!(text, row["text"].as_str().unwrap(), "{name} {}", row["ids"]);
        }
    }
}

/// A folder whose model has a type, which decides with the tokenizer's class what is taken of its file.
async fn of_type(folder: &str, model_type: &str, class: Option<&str>) -> Tokenizer {
    let read = |name: &str| {
        std::fs::read(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder).join(name)).unwrap()
    };
    let mut config: Value = serde_json::from_slice(&read("tokenizer_config.json")).unwrap();
    match class {
        Some(class) => config["tokenizer_class"] = class.into(),
        None => drop(config.as_object_mut().unwrap().remove("tokenizer_class")),
    }
    let mut files = InMemory::with("tokenizer.json", read("tokenizer.json"));
    files.files.insert("tokenizer_config.json".to_owned(), config.to_string().into_bytes());
    files.files.insert("config.json".to_owned(), json!({"model_type": model_type}).to_string().into_bytes());
    Tokenizer::load(&files).await.unwrap()
}

/// Ids of `AutoTokenizer` in transformers 5.23: it has classes of its own for some types of model, which replace how the
/// file cuts text.
#[test]
fn the_type_of_the_model_decides_how_text_is_cut() {
    const QWEN: &str = "fixtures/families/qwen2_bf16_tied/model";
    const GEMMA: &str = "fixtures/families/gemma3text_bf16_tied/model";
    let raw: &[u32] = &[71, 139, 226, 261, 223, 19, 20];
    let composed: &[u32] = &[130, 105, 261, 223, 19, 20];
    let fast = Some("PreTrainedTokenizerFast");
    for (model_type, class, want) in [
        ("qwen2", fast, composed),
        ("qwen2", None, composed),
        ("qwen3", fast, raw),
        ("qwen3", None, composed),
        ("qwen3", Some("Qwen2TokenizerFast"), composed),
        ("llama", fast, raw),
    ] {
        let tokenizer = block_on(of_type(QWEN, model_type, class));
        assert_eq!(tokenizer.encode("e\u{301} a 12", false).unwrap(), want, "{model_type} {class:?}");
    }
    for (class, want) in [
        (Some("GemmaTokenizer"), &[310u32, 311, 306, 298, 310, 351, 377, 452][..]),
        (fast, &[310, 310, 311, 306, 298, 310, 351, 377, 452][..]),
    ] {
        let tokenizer = block_on(of_type(GEMMA, "gemma3_text", class));
        assert_eq!(tokenizer.encode("  two  blanks", false).unwrap(), want, "{class:?}");
        assert_eq!(tokenizer.decode(want, false).unwrap().trim_start(), "two  blanks");
    }
}

#[test]
fn a_stream_of_tokens_gives_the_text_of_them_all() {
    let (texts, kinds) = kinds();
    for (name, tokenizer, expected) in &kinds {
        for (text, row) in texts.iter().zip(expected["ids"].as_array().unwrap()) {
            let row = ids(row);
            let mut stream = tokenizer.stream_decoder();
            let mut streamed: String = row.iter().map(|id| stream.push(*id).unwrap()).collect();
            streamed += &stream.finish().unwrap();
            assert_eq!(streamed, tokenizer.decode(&row, true).unwrap(), "{name} {text:?}");
        }
    }
}

#[test]
fn a_stream_loses_nothing_behind_a_byte_that_fits_no_character() {
    let (_, kinds) = kinds();
    let (_, llama, _) = kinds.iter().find(|(name, ..)| name == "llama2").unwrap();
    let id = |token: &str| llama.token_to_id(token).unwrap();
    let mut stream = llama.stream_decoder();
    let row = [id("<0xC3>"), id("<0xA9>"), id("<0xC3>"), id("a"), id("b")];
    let streamed: String = row.iter().map(|id| stream.push(*id).unwrap()).collect();
    assert_eq!(streamed, "é\u{FFFD}ab");
}

/// Gemma 3's tokenizer has one id more than its embedding has rows, of a token that stands for a picture.
#[test]
fn a_tokenizer_may_have_more_ids_than_the_model_while_no_row_uses_them() {
    let (texts, kinds) = kinds();
    let (_, gemma, expected) = kinds.into_iter().find(|(name, ..)| name == "gemma").unwrap();
    let last = gemma.token_to_id("<table>").unwrap();
    let gemma = gemma.for_vocab(last as usize);
    for (text, expected) in texts.iter().zip(expected["ids"].as_array().unwrap()) {
        let expected = ids(expected);
        match gemma.encode(text, false) {
            Ok(plain) => assert_eq!(plain, expected),
            Err(error) => {
                assert!(expected.contains(&last), "{text:?}");
                assert!(error.to_string().contains(&format!("\"<table>\" of id {last}")), "{error}");
            }
        }
    }
}
