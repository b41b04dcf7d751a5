//! Tokenizers from the metadata of GGUFs (`tools/reference/gguf_headers.py`), against Hugging Face's own of the same model.

use std::path::PathBuf;

use pollster::block_on;
use serde_json::Value;
use tabtune::data::tokenizer::Tokenizer;
use tabtune::format::gguf::Gguf;

use crate::files::MemoryFiles;

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn tokenizer_of(kind: &str) -> Tokenizer {
    let bytes = std::fs::read(fixtures().join(format!("gguf/tokenizers/{kind}.gguf"))).unwrap();
    let gguf = block_on(Gguf::open(&MemoryFiles::of(&[("m.gguf", &bytes)]), "m.gguf")).unwrap();
    block_on(Tokenizer::load(&MemoryFiles(gguf.tokenizer().unwrap()))).unwrap()
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
