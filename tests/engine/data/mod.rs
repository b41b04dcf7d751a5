//! The way of a row: tokenizer, template, loss mask; and of a dataset: import, storage, tokens.

mod files;
mod kinds;
mod library;
mod preferences;
mod rename;
mod units;

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use pollster::block_on;
use proptest::prelude::*;
use serde_json::{Value, json};
use tabtune::data::encode::{EncodeOptions, Encoded, Encoder};
use tabtune::data::example::{Example, Message};
use tabtune::data::notice::Remark;
use tabtune::data::template::ChatTemplate;
use tabtune::data::tokenizer::Tokenizer;
use tabtune::error::{Code, Error, Result};
use tabtune::files::Files;
use tabtune::train::options::TrainOptions;

/// A folder on disk.
struct Folder(PathBuf);

#[async_trait::async_trait(?Send)]
impl Files for Folder {
    async fn size(&self, name: &str) -> Result<Option<u64>> {
        Ok(std::fs::metadata(self.0.join(name)).ok().map(|file| file.len()))
    }

    async fn read(&self, name: &str, start: u64, len: usize) -> Result<Vec<u8>> {
        let bytes = std::fs::read(self.0.join(name)).map_err(|cause| Error::new(Code::Io, cause))?;
        Ok(bytes[start as usize..start as usize + len].to_vec())
    }
}

/// Files in memory, which remember the longest read.
#[derive(Default)]
struct InMemory {
    files: HashMap<String, Vec<u8>>,
    longest_read: RefCell<usize>,
}

impl InMemory {
    fn with(name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        InMemory { files: HashMap::from([(name.to_string(), bytes.into())]), ..Default::default() }
    }
}

#[async_trait::async_trait(?Send)]
impl Files for InMemory {
    async fn size(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.files.get(name).map(|file| file.len() as u64))
    }

    async fn read(&self, name: &str, start: u64, len: usize) -> Result<Vec<u8>> {
        let mut longest = self.longest_read.borrow_mut();
        *longest = longest.max(len);
        Ok(self.files[name][start as usize..start as usize + len].to_vec())
    }
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/tokens")
}

fn tokenizer(name: &str) -> Tokenizer {
    block_on(Tokenizer::load(&Folder(fixtures().join(name)))).unwrap()
}

// ---- tokens and masks against TRL ------------------------------------------------------------------

/// `cases.json` holds what TRL 1.16 on transformers 5.23 makes of the rows; see tests/fixtures/tokens.
#[test]
fn rows_become_the_tokens_and_labels_that_trl_makes() {
    let cases: Vec<Value> =
        serde_json::from_slice(&std::fs::read(fixtures().join("cases.json")).unwrap()).unwrap();
    assert!(!cases.is_empty());
    for case in &cases {
        let name = case["name"].as_str().unwrap();
        let tokenizer = tokenizer(case["tokenizer"].as_str().unwrap());
        let options = TrainOptions::from_json(&case["train"]).unwrap();
        let encoder = Encoder::new(&tokenizer, options.encode_options());
        let (mut kept, mut dropped, mut truncated, mut targets) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for (index, row) in case["rows"].as_array().unwrap().iter().enumerate() {
            let row =
                encoder.encode(&Example::from_json(row).unwrap()).unwrap_or_else(|e| panic!("{name}: {e}"));
            targets += row.encoded.targets();
            if row.encoded.targets() == 0 {
                dropped.push(index);
                continue;
            }
            if row.truncated {
                truncated.push(index);
            }
            let labelled: Vec<u8> = row.encoded.labelled.iter().map(|bit| u8::from(*bit)).collect();
            kept.push(json!({"row": index, "input_ids": row.encoded.ids, "labelled": labelled}));
        }
        for (ours, theirs) in kept.iter().zip(case["expected"].as_array().unwrap()) {
            assert_eq!(ours, theirs, "{name}");
        }
        assert_eq!(json!(kept), case["expected"], "{name}");
        assert_eq!(json!(dropped), case["dropped"], "{name}: dropped");
        assert_eq!(json!(truncated), case["truncated"], "{name}: truncated among the kept");
        assert_eq!(json!(targets), case["labelled_tokens"], "{name}: labelled tokens");
        for (row, text) in
            case["rows"].as_array().unwrap().iter().zip(case["rendered"].as_array().into_iter().flatten())
        {
            if let (Ok(Example::Chat(messages)), Some(text)) = (Example::from_json(row), text.as_str()) {
                let rendered = tokenizer.chat_template().unwrap().render(&messages, false).unwrap();
                assert_eq!(rendered.text, text, "{name}: rendered");
            }
        }
    }
}

/// `continued.json` holds what transformers 5.24 makes of chats with `continue_final_message`.
#[test]
fn half_an_answer_is_gone_on_from_as_in_transformers() {
    let cases = std::fs::read(fixtures().join("continued.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_slice(&cases).unwrap();
    for case in &cases {
        let name = case["tokenizer"].as_str().unwrap();
        let plain = tokenizer(name);
        let own = case["template"].as_str().map(|source| {
            let tokens = ["bos_token", "eos_token"].map(|name| (name, plain.special_token(name)));
            let tokens = tokens.into_iter().filter_map(|(name, token)| Some((name.into(), token?.into())));
            ChatTemplate::new(source, tokens.collect()).unwrap()
        });
        let template = own.as_ref().unwrap_or_else(|| plain.chat_template().unwrap());
        let messages: Vec<Message> =
            case["messages"].as_array().unwrap().iter().map(|one| Message::from_json(one).unwrap()).collect();
        let continued = template.render_continued(&messages).map(|text| plain.encode(&text, false).unwrap());
        match continued {
            Ok(ids) => assert_eq!(json!(ids), case["ids"], "{name}: {}", case["messages"]),
            Err(error) => {
                assert_eq!(case["ids"], Value::Null, "{name}: {}: {error}", case["messages"]);
                assert_eq!(error.code, Code::BadData);
                assert!(error.message.contains("leaves out or changes"), "{error}");
            }
        }
    }
    assert!(cases.iter().any(|case| case["ids"].is_null()), "none is refused");
    // Of an answer that is written twice transformers would leave its mark in the first.
    let twice = template("{{ messages[0].content }}|{{ messages[0].content | trim }}|");
    assert_eq!(twice.render_continued(&[Message::new("assistant", "It is ")]).unwrap(), "It is |It is");
    let question = [Message::new("user", "Who?")];
    for messages in [&question[..], &[]] {
        let error = tokenizer("chatml").continued_ids(messages).unwrap_err();
        assert_eq!(error.code, Code::BadData);
        assert!(error.message.contains("end the chat with the assistant's message"), "{error}");
    }
}

#[test]
fn decoding_token_by_token_gives_the_whole_text_in_whole_characters() {
    let text = " Naïve café — 日本語 🎉👩‍👩‍👧 é, two\nlines and  spaces";
    for name in ["chatml", "llama3", "zephyr"] {
        let tokenizer = tokenizer(name);
        let ids = tokenizer.encode(text, false).unwrap();
        let mut stream = tokenizer.stream_decoder();
        let mut pieces: Vec<String> = ids.iter().map(|id| stream.push(*id).unwrap()).collect();
        assert!(pieces.iter().any(String::is_empty), "{name}: no character of several tokens was tried");
        assert!(pieces.iter().all(|piece| !piece.contains('\u{FFFD}')), "{name}: {pieces:?}");
        pieces.push(stream.finish().unwrap());
        assert_eq!(pieces.concat(), tokenizer.decode(&ids, true).unwrap(), "{name}");
    }
}

#[test]
fn a_stream_that_ends_within_a_character_shows_it() {
    let tokenizer = tokenizer("chatml");
    let ids = tokenizer.encode("a🎉", false).unwrap();
    let mut stream = tokenizer.stream_decoder();
    assert_eq!(stream.push(ids[0]).unwrap(), "a");
    assert_eq!(stream.push(ids[1]).unwrap(), "");
    assert!(stream.finish().unwrap().contains('\u{FFFD}'));
}

#[test]
fn special_tokens_may_be_objects_and_templates_lists_or_files() {
    let bytes = std::fs::read(fixtures().join("chatml/tokenizer.json")).unwrap();
    let hello = [Message::new("user", "hi")];
    let config = json!({
        "eos_token": {"content": "<|im_end|>", "lstrip": false},
        "add_bos_token": true,
        "bos_token": "<|im_start|>",
        "chat_template": [
            {"name": "tool_use", "template": "no"},
            {"name": "default", "template": "{{ eos_token }}{{ messages[0].content }}"},
        ],
    });
    let tokenizer = Tokenizer::new(&bytes, &config, None).unwrap();
    assert_eq!(tokenizer.eos_token(), Some("<|im_end|>"));
    assert_eq!(tokenizer.eos_token_id(), Some(2));
    assert_eq!(tokenizer.chat_template().unwrap().render(&hello, false).unwrap().text, "<|im_end|>hi");
    // add_bos_token replaces what tokenizer.json adds, which for this one is nothing.
    assert_eq!(tokenizer.encode("", true).unwrap(), [1]);
    assert!(tokenizer.encode("", false).unwrap().is_empty());

    let tokenizer = Tokenizer::new(&bytes, &config, Some("from the file".into())).unwrap();
    assert_eq!(tokenizer.chat_template().unwrap().render(&hello, false).unwrap().text, "from the file");
}

#[test]
fn a_bad_tokenizer_is_refused_by_its_file() {
    let message = |files: InMemory| {
        let error = block_on(Tokenizer::load(&files)).err().expect("an error");
        assert_eq!(error.code, Code::BadModel);
        error.to_string()
    };
    assert_eq!(message(InMemory::default()), "tokenizer.json is missing");
    assert!(message(InMemory::with("tokenizer.json", "{}")).starts_with("tokenizer.json: "));
    let mut files =
        InMemory::with("tokenizer.json", std::fs::read(fixtures().join("chatml/tokenizer.json")).unwrap());
    files.files.insert("tokenizer_config.json".into(), b"{".to_vec());
    assert!(message(files).starts_with("tokenizer_config.json: "));
    let bytes = std::fs::read(fixtures().join("chatml/tokenizer.json")).unwrap();
    for (config, expected) in [
        (json!({"eos_token": "<nowhere>"}), "\"<nowhere>\""),
        (json!({"chat_template": 3}), "chat_template must be a string"),
        (json!({"chat_template": [{"name": "rag", "template": ""}]}), "no template named \"default\""),
        (json!({"chat_template": "{% for %}"}), "chat_template: "),
    ] {
        let error = Tokenizer::new(&bytes, &config, None).err().expect("an error");
        assert_eq!(error.code, Code::BadModel);
        assert!(error.to_string().contains(expected), "{error}");
    }
    let bare = Tokenizer::new(&bytes, &Value::Null, None).unwrap();
    let encoder = Encoder::new(&bare, EncodeOptions::default());
    for (row, expected) in [
        (json!({"text": "a"}), "eos_token"),
        (json!({"messages": [{"role": "user", "content": ""}]}), "chat_template"),
    ] {
        let error = encoder.encode(&Example::from_json(&row).unwrap()).unwrap_err();
        assert_eq!(error.code, Code::BadModel);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

// ---- templates -------------------------------------------------------------------------------------

const MARKED: &str = "{%- for m in messages %}\n    {%- if m['role'] == 'assistant' %}\n        {{- '<a>' }}\n        \
                      {%- generation %}\n        {{- m['content'] + '</a>' }}\n        {%- endgeneration %}\n    \
                      {%- else %}\n        {{- '<u>' + m['content'] }}\n    {%- endif %}\n{%- endfor %}\n\
                      {%- if add_generation_prompt %}{{- '<a>' }}{%- endif %}";

fn template(source: &str) -> ChatTemplate {
    ChatTemplate::new(source, BTreeMap::from([("bos_token".to_string(), "<s>".to_string())])).unwrap()
}

proptest! {
    /// Whatever is said in whatever script, a span holds what the assistant said and its end mark.
    #[test]
    fn spans_are_what_the_assistant_says(turns in prop::collection::vec(("\\PC*", "\\PC*"), 1..5)) {
        let messages: Vec<Message> = turns
            .iter()
            .flat_map(|(question, answer)| [Message::new("user", question), Message::new("assistant", answer)])
            .collect();
        let rendered = template(MARKED).render(&messages, false).unwrap();
        let spans: Vec<&str> = rendered.generated.iter().map(|span| &rendered.text[span.clone()]).collect();
        let expected: Vec<String> = turns.iter().map(|(_, answer)| format!("{answer}</a>")).collect();
        prop_assert_eq!(spans, expected);
        let whole: String = turns.iter().map(|(q, a)| format!("<u>{q}<a>{a}</a>")).collect();
        prop_assert_eq!(rendered.text, whole);
    }
}

/// The expected texts are those of transformers.utils.chat_template_utils.render_jinja_template.
#[test]
fn templates_speak_the_jinja_that_hugging_face_speaks() {
    let messages = [Message::new("user", " <b>Ä & 'ö'</b> "), Message::new("assistant", "ok")];
    for (source, expected) in [
        ("{{ bos_token }}{{ messages[0].content.strip() }}|{{ messages|length }}", "<s><b>Ä & 'ö'</b>|2"),
        ("{{ messages[0] | tojson }}", "{\"role\": \"user\", \"content\": \" <b>Ä & 'ö'</b> \"}"),
        (
            "{{ {'a': [1, 2], 'b': none} | tojson(indent=2) }}",
            "{\n  \"a\": [\n    1,\n    2\n  ],\n  \"b\": null\n}",
        ),
        (
            "{% for m in messages %}\n  {% if loop.first %}\n    {% continue %}\n  {% endif %}\n{{ m.role }}\n{% endfor %}\nend",
            "assistant\nend",
        ),
        (
            "{% set ns = namespace(n=0) %}{% for m in messages[::-1] %}{% set ns.n = ns.n + loop.index %}{% endfor %}{{ ns.n }}",
            "3",
        ),
        ("{{ 'x' if tools is none and tools is defined else 'y' }}{{ 'z' if functions is defined }}", "x"),
        (
            "{{ messages[1].get('name', 'nobody') }}{{ messages[0]['content'].split('&')[1].endswith(' ') }}",
            "nobodyTrue",
        ),
        ("{%- macro say(t) -%}[{{ t }}]{%- endmacro -%}{{ say(messages[1].content) }}", "[ok]"),
        // None is no list, and a string is a sequence.
        (
            "{{ tools is iterable and tools | length > 0 }}{{ 'a' is sequence }}{{ none is sequence }}",
            "FalseTrueFalse",
        ),
        // A namespace that a macro only sets.
        (
            "{% set ns = namespace(n=0) %}{% macro f() %}{% set ns.n = 5 %}{% endmacro %}{{ f() }}{{ ns.n }}",
            "5",
        ),
        (
            "{% set q = 0 %}{% set ns = namespace(n=1) %} {% generation %} {% set q = 1 %}{% set ns.n = 2 %}{{ q }}\
             {% endgeneration %}\n{{ q }}{{ ns.n }}",
            "  102",
        ),
        (
            "{{ 'a-b-c'.rsplit('-', 1) }}{{ 'a-b'.partition('-')[2] }}{{ 'abc'.removeprefix('a').removesuffix('c') }}",
            "['a-b', 'c']bb",
        ),
        (
            "{{ {'b': ['é'], 'a': {}} | tojson(ensure_ascii=true, separators=(',', ':'), sort_keys=true) }}",
            "{\"a\":{},\"b\":[\"\\u00e9\"]}",
        ),
        // Jinja reads every line end as "\\n".
        ("a\r\nb\rc{{ 'x\r\ny' }}", "a\nb\ncx\ny"),
    ] {
        assert_eq!(template(source).render(&messages, false).unwrap().text, expected, "{source}");
    }
    assert!(template("{{ strftime_now('%d %b %Y') }}").render(&messages, false).unwrap().text.len() == 11);
}

#[test]
fn a_template_refuses_in_its_own_words() {
    let said = |source: &str, messages: &[Message]| {
        let error = template(source).render(messages, false).unwrap_err();
        assert_eq!(error.code, Code::BadData);
        error.to_string()
    };
    let hello = [Message::new("user", "hi")];
    assert!(said("\n{{ raise_exception('No system role') }}", &hello).contains("No system role (line 2"));
    assert!(said("{{ messages[7]['content'] }}", &hello).contains("the chat template says"));
}

/// What of a chat is learnt with assistant_only_loss, each stretch as text.
fn learnt(tokenizer: &Tokenizer, messages: &[Message], assistant_only_loss: bool) -> Vec<String> {
    let options = EncodeOptions { assistant_only_loss, ..Default::default() };
    let row = Encoder::new(tokenizer, options).encode(&Example::Chat(messages.to_vec())).unwrap().encoded;
    let pieces = row.labelled.chunk_by(|a, b| a == b);
    let mut start = 0;
    let mut said = Vec::new();
    for piece in pieces {
        let ids = &row.ids[start..start + piece.len()];
        start += piece.len();
        said.extend(piece[0].then(|| tokenizer.decode(ids, false).unwrap()));
    }
    said
}

fn with_template(source: &str) -> Tokenizer {
    let bytes = std::fs::read(fixtures().join("chatml/tokenizer.json")).unwrap();
    let config = json!({"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"});
    Tokenizer::new(&bytes, &config, Some(source.into())).unwrap()
}

fn chat(said: &[(&str, &str)]) -> Vec<Message> {
    said.iter().map(|(role, content)| Message::new(role, content)).collect()
}

#[test]
fn a_turn_that_is_rendered_otherwise_in_the_whole_chat_is_found() {
    // Like those of reasoning models, which show the thoughts of the last turn alone.
    let tokenizer = with_template(
        "{% for m in messages %}<|im_start|>{{ m.role }}\n\
         {% if m.role == 'assistant' and loop.last %}<think>hm</think>{% endif %}{{ m.content | trim }}<|im_end|>\n{% endfor %}\
         {% if add_generation_prompt %}<|im_start|>assistant\n<think>{% endif %}",
    );
    let messages = chat(&[("user", "q"), ("assistant", " x "), ("user", "q"), ("assistant", "y")]);
    assert_eq!(learnt(&tokenizer, &messages, true), ["x<|im_end|>\n", "<think>hm</think>y<|im_end|>\n"]);
}

#[test]
fn a_chat_may_begin_with_the_assistant() {
    // The first looks at messages[0], the second puts a system message in front.
    let chatml = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}\
                  {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
    let begins = "{% if messages[0].role != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}";
    let messages = chat(&[("assistant", "a"), ("user", "b"), ("assistant", "c")]);
    for source in [format!("{{% set x = messages[0]['role'] %}}{chatml}"), format!("{begins}{chatml}")] {
        assert_eq!(learnt(&with_template(&source), &messages, true), ["a<|im_end|>\n", "c<|im_end|>\n"]);
    }
}

#[test]
fn a_template_may_move_the_words_of_the_system() {
    let tokenizer = with_template(
        "{% for m in messages if m.role != 'system' %}{% if m.role == 'user' %}\
         {{ '[INST] ' + (messages[0].content if loop.last else '') + m.content + '[/INST]' }}\
         {% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}",
    );
    let messages =
        chat(&[("system", "s"), ("user", "b"), ("assistant", "c"), ("user", "d"), ("assistant", "e")]);
    assert_eq!(learnt(&tokenizer, &messages, true), [" c<|im_end|>", " e<|im_end|>"]);
    // So does what a completion begins at.
    let row = Example::ChatCompletion { prompt: messages[..2].to_vec(), completion: messages[2..3].to_vec() };
    let row = Encoder::new(&tokenizer, EncodeOptions::default()).encode(&row).unwrap().encoded;
    let first = row.labelled.iter().position(|is_learnt| *is_learnt).unwrap();
    assert_eq!(tokenizer.decode(&row.ids[first..], false).unwrap(), " c<|im_end|>");
}

#[test]
fn an_empty_turn_before_words_of_the_system_that_come_first_is_passed_over() {
    let model = with_template(
        "{% for m in messages if m.role == 'system' %}{{ m.content }} {% endfor %}{% for m in messages if m.role != 'system' %}\
         <|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}\
         {% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
    );
    let said = [("user", "a"), ("assistant", ""), ("system", "s"), ("user", "b"), ("assistant", "c")];
    let learnt = learnt(&model, &chat(&said), true);
    assert!(learnt.last().is_some_and(|turn| turn.starts_with('c')), "{learnt:?}");
}

#[test]
fn a_message_of_weight_zero_is_not_learnt() {
    let tokenizer = tokenizer("chatml");
    let weighed =
        |role: &str, content: &str, weight: f64| Message::new(role, content).with("weight", weight.into());
    let messages = [
        weighed("user", "Hi", 1.0),
        weighed("assistant", "Wrong", 0.0),
        weighed("user", "Hm", 0.0),
        weighed("assistant", "Right", 1.0),
    ];
    assert_eq!(learnt(&tokenizer, &messages, true), ["Right<|im_end|>\n"]);
    let all = learnt(&tokenizer, &messages, false);
    assert!(
        all[0].ends_with("Hi<|im_end|>\n<|im_start|>assistant\n") && all[1] == "<|im_start|>user\n",
        "{all:?}"
    );
    assert_eq!(all[2], "<|im_end|>\n<|im_start|>assistant\nRight<|im_end|>\n");
}

#[test]
fn what_a_template_leaves_out_is_told() {
    let source = "{% for m in messages %}{{ m.content.split('</think>')[-1] }}{% endfor %}";
    let encoder = with_template(source);
    let encoder = Encoder::new(&encoder, EncodeOptions::default());
    let remark = |answer: &str| {
        let messages = chat(&[("user", "q"), ("assistant", answer)]);
        encoder.encode(&Example::Chat(messages)).unwrap().remark
    };
    assert_eq!(remark("<think>2 and 2</think>4"), Some(Remark::TemplateDropsText));
    assert_eq!(remark("4"), None);
}

#[test]
fn reasoning_has_the_names_that_templates_read() {
    let source = "{{ messages[0].reasoning_content }}{{ messages[0].thinking }}";
    for name in ["reasoning_content", "thinking", "reasoning"] {
        let message = Message::new("assistant", "a").with(name, "r".into());
        assert_eq!(template(source).render(&[message], false).unwrap().text, "rr", "{name}");
    }
}

/// Templates that would take for ever, or more memory than there is.
#[test]
fn a_template_has_a_budget_of_work_and_memory() {
    let grown = |grow: &str| {
        format!("{{% set ns = namespace(s=[1], t='a') %}}{{% for i in range(60) %}}{grow}{{% endfor %}}")
    };
    let began = std::time::Instant::now();
    for source in [
        "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}{% endfor %}{% endfor %}{% endfor %}",
        &grown("{% set ns.t = ns.t ~ ns.t %}"),
        &grown("{% set ns.s = ns.s + ns.s %}"),
        "{{ 'a' * 4000000000 }}",
        "{% set a = 'a' * 1000000 %}{{ a.replace('a', a) }}",
        "{% set a = 'a' * 1000000 %}{{ a.join(range(90000) | list) }}",
        "{{ '{:>1000000000}'.format(1) }}",
        "{% set a = 'a ' * 20000000 %}{{ a.split(' ') | length }}",
    ] {
        let error = template(source).render(&[], false).unwrap_err();
        assert_eq!(error.code, Code::BadModel, "{source}: {error}");
        assert!(error.to_string().contains("chat template takes more work or memory"), "{error}");
    }
    assert!(began.elapsed().as_secs() < 60);
    for source in [
        "{% set n = namespace() %}{% set n.n = n %}{{ n }}",
        "{% set n = namespace(l=[]) %}{% for i in range(9999) %}{% set n.l = [n.l] %}{% endfor %}{{ n.l }}",
        "{{ [1] | tojson(indent=1000000000) }}",
    ] {
        assert_eq!(template(source).render(&[], false).unwrap_err().code, Code::BadData, "{source}");
    }
    // A long chat stays far below it.
    let long: Vec<Message> =
        (0..2000).map(|i| Message::new(["user", "assistant"][i % 2], "what is the sea")).collect();
    assert!(template(MARKED).render(&long, false).is_ok());
}

#[test]
fn special_tokens_may_be_none_unknown_or_in_a_file_of_their_own() {
    let bytes = std::fs::read(fixtures().join("chatml/tokenizer.json")).unwrap();
    for pad in ["", "[PAD]"] {
        let config = json!({"eos_token": "<|im_end|>", "pad_token": pad});
        let tokenizer = Tokenizer::new(&bytes, &config, None).unwrap();
        assert_eq!(tokenizer.eos_token_id(), Some(2));
    }
    let mut files = InMemory::with("tokenizer.json", bytes.clone());
    let map = json!({"eos_token": {"content": "<|im_end|>"}, "additional_special_tokens": ["x"]});
    files.files.insert("special_tokens_map.json".into(), map.to_string().into());
    assert_eq!(block_on(Tokenizer::load(&files)).unwrap().eos_token(), Some("<|im_end|>"));
    // As in transformers, it does not count beside added_tokens_decoder.
    let config = json!({"eos_token": "<|endoftext|>", "added_tokens_decoder": {}});
    files.files.insert("tokenizer_config.json".into(), config.to_string().into());
    assert_eq!(block_on(Tokenizer::load(&files)).unwrap().eos_token(), Some("<|endoftext|>"));
}

#[test]
fn a_token_that_the_model_does_not_know_is_an_error_of_its_row() {
    let tokenizer = tokenizer("chatml");
    let id = tokenizer.token_to_id("<|im_end|>").unwrap();
    let tokenizer = tokenizer.for_vocab(id as usize);
    let encoder = Encoder::new(&tokenizer, EncodeOptions::default());
    let error = encoder.encode(&Example::Text("".into())).unwrap_err();
    assert_eq!(error.code, Code::BadData);
    assert!(error.to_string().contains("\"<|im_end|>\" of id 2"), "{error}");
    assert!(tokenizer.encode("", false).is_ok());
}

proptest! {
    #[test]
    fn a_packed_row_unpacks(row in prop::collection::vec((any::<u32>(), any::<bool>()), 0..100)) {
        let (ids, labelled): (Vec<u32>, Vec<bool>) = row.into_iter().unzip();
        let row = Encoded { ids, labelled };
        let bytes = row.to_bytes();
        prop_assert_eq!(Encoded::from_bytes(&bytes).unwrap(), row);
    }
}

#[test]
fn damaged_rows_are_told() {
    for length in [1, 4, 6, 34, 35] {
        assert_eq!(Encoded::from_bytes(&vec![0; length]).unwrap_err().code, Code::BadData, "{length}");
    }
}
