use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;

fn read(row: Value, names: Value, pairs: Pairs) -> Result<Kept> {
    let names: BTreeMap<String, String> = serde_json::from_value(names).expect("names");
    keep(row.as_object().expect("an object"), Reading { names: &names, pairs })
}

fn kept(row: Value) -> Result<Kept> {
    read(row, json!({}), Pairs::Auto)
}

/// A question and its answer as they are kept.
fn pair(asked: &str, answered: &str) -> Value {
    let completion = [json!({"role": "assistant", "content": answered})];
    json!({"prompt": [{"role": "user", "content": asked}], "completion": completion, "pair": true})
}

fn with_system(system: &str, mut pair: Value) -> Value {
    let prompt = pair["prompt"].as_array_mut().expect("a chat");
    prompt.insert(0, json!({"role": "system", "content": system}));
    pair
}

#[test]
fn every_shape_is_recognised_and_kept_in_one_form() {
    let chat = json!([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]);
    let sharegpt = json!([{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]);
    for (row, expected) in [
        (json!({"messages": chat, "tools": [], "id": 3}), json!({"messages": chat})),
        (json!({"messages": chat.to_string()}), json!({"messages": chat})),
        (json!({"text": "a", "source": "b"}), json!({"text": "a"})),
        (json!({"prompt": "a", "completion": "b"}), json!({"prompt": "a", "completion": "b"})),
        (
            json!({"prompt": [chat[0]], "completion": [chat[1]]}),
            json!({"prompt": [chat[0]], "completion": [chat[1]]}),
        ),
        (
            json!({"prompt": json!([chat[0]]).to_string(), "completion": json!([chat[1]]).to_string()}),
            json!({"prompt": [chat[0]], "completion": [chat[1]]}),
        ),
        (json!({"question": "a", "answer": "b"}), pair("a", "b")),
        (json!({"instruction": "Add", "input": "1 2", "output": "3"}), pair("Add\n\n1 2", "3")),
        (
            json!({"system": "Be brief", "conversations": sharegpt}),
            json!({"messages": [{"role": "system", "content": "Be brief"}, chat[0], chat[1]]}),
        ),
        (
            json!({"prompt": "a", "chosen": "b", "rejected": "c"}),
            json!({"prompt": "a", "chosen": "b", "rejected": "c"}),
        ),
        (json!({"chosen": chat, "rejected": chat}), json!({"chosen": chat, "rejected": chat})),
        (json!({"chosen": "a b", "rejected": "a c"}), json!({"chosen": "a b", "rejected": "a c"})),
        (
            json!({"prompt": [chat[0]], "chosen": [chat[1]], "rejected": [chat[1]], "context": "d"}),
            json!({"prompt": [chat[0]], "chosen": [chat[1]], "rejected": [chat[1]]}),
        ),
        // A prompt that is text is what the user says, unless the chats have it.
        (
            json!({"prompt": "Hi", "chosen": [chat[1]], "rejected": [chat[1]]}),
            json!({"prompt": [chat[0]], "chosen": [chat[1]], "rejected": [chat[1]]}),
        ),
        (
            json!({"prompt": "Hi", "chosen": chat, "rejected": chat}),
            json!({"chosen": chat, "rejected": chat}),
        ),
        (
            json!({"prompt": "a", "completion": "b", "label": true}),
            json!({"prompt": "a", "completion": "b", "label": true}),
        ),
        (
            json!({"prompt": [chat[0]], "completion": [chat[1]], "label": "False"}),
            json!({"prompt": [chat[0]], "completion": [chat[1]], "label": false}),
        ),
        (json!({"conversation": chat}), json!({"messages": chat})),
        (
            json!({"conversation": [{"input": "Hi", "output": "Hello"}], "source": "a"}),
            json!({"messages": chat}),
        ),
        (
            json!({"chat_messages": [{"sender": "human", "text": "Hi"}, {"sender": "assistant", "text": "Hello"}]}),
            json!({"messages": chat}),
        ),
    ] {
        assert_eq!(kept(row).unwrap().row, expected);
    }
}

#[test]
fn pairs_of_all_usual_names_are_chats() {
    for (asked, answered) in [
        ("question", "answer"),
        ("Questions", "Answers"),
        ("prompt", "response"),
        ("prompt", "answer"),
        ("prompt", "output"),
        ("query", "response"),
        ("input", "output"),
        ("inputs", "targets"),
        ("instruction", "output"),
        ("instruction", "response"),
        ("instruction", "completion"),
        ("problem", "solution"),
        ("user", "assistant"),
        ("human", "bot"),
        ("q", "a"),
        ("Question", " Answer"),
        ("QUERY", "Response "),
    ] {
        let row =
            Value::Object(Map::from_iter([(asked.into(), "Hi".into()), (answered.into(), "Hello".into())]));
        assert_eq!(kept(row).unwrap().row, pair("Hi", "Hello"), "{asked} and {answered}");
    }
}

#[test]
fn a_pair_is_what_the_import_says() {
    let plain = json!({"Prompt": "Hi?", "completion": " Ahoy."});
    let other = json!({"question": "Hi?", "answer": "Ahoy."});
    let alpaca = json!({"system": "Be brief", "instruction": "Add", "input": "1 2", "output": "3"});
    for (row, pairs, expected) in [
        (&plain, Pairs::Auto, json!({"prompt": "Hi?", "completion": " Ahoy."})),
        (&plain, Pairs::Text, json!({"prompt": "Hi?", "completion": " Ahoy."})),
        (&plain, Pairs::Chat, pair("Hi?", " Ahoy.")),
        (&other, Pairs::Auto, pair("Hi?", "Ahoy.")),
        (&other, Pairs::Chat, pair("Hi?", "Ahoy.")),
        (&other, Pairs::Text, json!({"prompt": "Hi?\n", "completion": "Ahoy."})),
        (&alpaca, Pairs::Auto, with_system("Be brief", pair("Add\n\n1 2", "3"))),
        (&alpaca, Pairs::Text, json!({"prompt": "Be brief\n\nAdd\n\n1 2\n", "completion": "3"})),
    ] {
        assert_eq!(read(row.clone(), json!({}), pairs).unwrap().row, expected, "{pairs:?}");
    }
    let german = json!({"Frage": "a", "Antwort": "b", "text": "c"});
    let names = json!({"prompt": "Frage", "completion": "Antwort"});
    assert_eq!(read(german, names, Pairs::Auto).unwrap().row, pair("a", "b"));
}

#[test]
fn a_label_whose_column_was_named_may_be_a_number_and_beside_any_pair() {
    let named = json!({"label": "good"});
    let rated = |row: Value| read(row, named.clone(), Pairs::Auto);
    for (written, label) in
        [(json!(1), true), (json!(0.0), false), (json!("1"), true), (json!("FALSE "), false)]
    {
        let plain = rated(json!({"prompt": "a", "completion": "b", "good": written})).unwrap();
        assert_eq!(plain.row, json!({"prompt": "a", "completion": "b", "label": label}));
        for (asked, answered) in [("question", "answer"), ("instruction", "output"), ("prompt", "response")] {
            let row = json!({asked: "a", answered: "b", "good": written});
            let mut expected = pair("a", "b");
            expected["label"] = label.into();
            assert_eq!(rated(row).unwrap().row, expected, "{asked}");
        }
    }
    let error = rated(json!({"prompt": "a", "completion": "b", "good": 2})).unwrap_err();
    assert!(error.message.contains("\"good\", which says whether"), "{error}");
    check_names(&BTreeMap::from([("label".to_owned(), "good".to_owned())])).unwrap();
}

#[test]
fn preferences_and_ratings_are_chats_where_the_import_says_it() {
    let chat = |row: Value| read(row, json!({}), Pairs::Chat).unwrap().row;
    let mut rated = pair("a", "b");
    rated["label"] = false.into();
    assert_eq!(chat(json!({"prompt": "a", "completion": "b", "label": false})), rated);
    let said = |role: &str, text: &str| json!([{"role": role, "content": text}]);
    assert_eq!(
        chat(json!({"prompt": "a", "chosen": "b", "rejected": "c"})),
        json!({"prompt": said("user", "a"), "chosen": said("assistant", "b"), "rejected": said("assistant", "c")})
    );
    let without = json!({"chosen": "a b", "rejected": "a c"});
    assert_eq!(chat(without.clone()), without);
}

#[test]
fn the_usual_columns_beside_a_pair_or_a_chat_are_used() {
    let chat = json!([{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": "Ahoy."}]);
    let sailor = json!({"role": "system", "content": "Be a sailor."});
    let history = json!([["Who?", "I."]]);
    let mut told = pair("And now?", "Bye.");
    told["prompt"] = json!([{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "I."}, told["prompt"][0]]);
    for (row, expected) in [
        (
            json!({"instruction": "When?", "context": "In 1911.", "response": "1911"}),
            pair("When?\n\nIn 1911.", "1911"),
        ),
        (
            json!({"context": "In 1911.", "question": "When?", "answer": "1911"}),
            pair("When?\n\nIn 1911.", "1911"),
        ),
        (
            json!({"prompt": "Translate", "input": "Hello", "output": "Bonjour"}),
            pair("Translate\n\nHello", "Bonjour"),
        ),
        (
            json!({"context": "In 1911.", "input": "When?", "output": "1911"}),
            pair("When?\n\nIn 1911.", "1911"),
        ),
        (json!({"instruction": "And now?", "input": "", "output": "Bye.", "history": history}), told.clone()),
        (json!({"question": "And now?", "answer": "Bye.", "history": history.to_string()}), told),
        (
            json!({"system_prompt": "Be a sailor.", "question": "Hi?", "response": "Ahoy."}),
            with_system("Be a sailor.", pair("Hi?", "Ahoy.")),
        ),
        (
            json!({"System Prompt": "Be a sailor.", "messages": chat}),
            json!({"messages": [sailor, chat[0], chat[1]]}),
        ),
        (
            json!({"system": "Be a sailor.", "prompt": "Hi?", "completion": " Ahoy."}),
            json!({"prompt": "Be a sailor.\n\nHi?", "completion": " Ahoy."}),
        ),
        (
            json!({"system": "Be a sailor.", "prompt": [chat[0]], "completion": [chat[1]]}),
            json!({"prompt": [sailor, chat[0]], "completion": [chat[1]]}),
        ),
    ] {
        let Kept { row, ignored, .. } = kept(row).unwrap();
        assert_eq!((row, ignored), (expected, vec![]));
    }
}

#[test]
fn columns_that_are_not_used_are_named() {
    let chat = json!([{"role": "system", "content": "a"}, {"role": "user", "content": "Hi?"}]);
    for (row, expected) in [
        // The label of a classifier, or of something else.
        (json!({"prompt": "Hi", "completion": " Go away.", "label": 0}), vec!["label"]),
        (json!({"prompt": "Hi", "completion": " Go away.", "label": "spam"}), vec!["label"]),
        (json!({"prompt": "Hi", "response": "Go away.", "label": false}), vec!["label"]),
        (json!({"prompt": "Hi", "completion": " Go away.", "label": false}), vec![]),
        (json!({"prompt": [chat[1]], "chosen": chat, "rejected": chat, "label": true}), vec!["label"]),
        (json!({"question": "2+2?", "reasoning": "It is.", "answer": "4", "id": null}), vec!["reasoning"]),
        (
            json!({"question": "Which?", "choices": ["a", "b"], "answer": "a", "tags": [], "note": " "}),
            vec!["choices"],
        ),
        (json!({"prompt": "a", "completion": "b", "context": "c"}), vec!["context"]),
        (json!({"question": "a", "answer": "b", "history": "none", "label": 0}), vec!["history", "label"]),
        (
            json!({"messages": chat, "system": "b", "tools": [{}], "chat_template_kwargs": {}}),
            vec!["system", "tools"],
        ),
        (json!({"messages": chat, "system": "a"}), vec![]),
        (json!({"prompt": chat, "answer": chat, "context": "a"}), vec!["context"]),
        (json!({"text": "a", "title": "b"}), vec!["title"]),
        (json!({"instruction": "a", "output": "b", "text": "c", "prompt": "d"}), vec!["text", "prompt"]),
    ] {
        assert_eq!(kept(row.clone()).unwrap().ignored, expected, "{row}");
    }
}

#[test]
fn numbers_and_booleans_are_the_text_that_a_table_would_hold() {
    assert_eq!(kept(json!({"question": "2+2?", "answer": 4})).unwrap().row, pair("2+2?", "4"));
    assert_eq!(kept(json!({"question": 1.5, "answer": false})).unwrap().row, pair("1.5", "false"));
    let plain = kept(json!({"prompt": "Spam?", "completion": true})).unwrap();
    assert_eq!(plain.row, json!({"prompt": "Spam?", "completion": "true"}));
}

#[test]
fn empty_cells_are_told() {
    assert_eq!(kept(json!({"question": " ", "answer": "b"})).unwrap().empty, ["question"]);
    assert_eq!(kept(json!({"instruction": "a", "input": "", "output": ""})).unwrap().empty, ["output"]);
    assert!(kept(json!({"prompt": "a", "completion": "b"})).unwrap().empty.is_empty());
}

#[test]
fn what_is_wrong_with_a_row_is_said() {
    for (row, reason) in [
        (json!({}), "but has nothing"),
        (json!({"prompt": "a"}), "\"prompt\" needs \"completion\""),
        (json!({"prompt": "a", "completion": []}), "two strings or two lists"),
        (json!({"prompt": "a", "completion": null}), "\"completion\" (null: no value)"),
        (json!({"prompt": "a", "completion": {"b": 1}}), "\"completion\" must be a string, but is an object"),
        (json!({"text": 3}), "\"text\" must be a string, but is a number"),
        (json!({"messages": []}), "\"messages\" is empty"),
        (json!({"messages": "Hi"}), "is a string that is none"),
        (json!({"messages": "[{'role': 'user', 'content': \"It's me\"}]"}), "as Python prints it"),
        (json!({"chosen": "a"}), "\"chosen\" needs \"rejected\""),
        (json!({"chosen": "a", "rejected": []}), "two strings or two lists"),
        (json!({"prompt": [], "chosen": "a", "rejected": "b"}), "two strings or two lists"),
        (json!({"a": "b"}), "name the columns"),
        (json!({"a": "b", "c": "d"}), "did you mean columns: {\"prompt\": \"a\", \"completion\": \"c\"}?"),
        (json!({"title": "Hours", "mapping": {"a": {"message": null}}}), "convert each conversation"),
        (json!({"prompt": {"0": "a", "1": "b"}, "completion": {"0": "c", "1": "d"}}), "by columns"),
        (json!({"prompt": ["a", "b"], "completion": ["c", "d"]}), "by columns"),
        (json!({"columns": ["text"], "index": [0], "data": [["a"]]}), "by columns"),
        (json!({"version": "1", "data": [{"text": "a"}]}), "the list under \"data\""),
    ] {
        let error = kept(row).unwrap_err();
        assert_eq!(error.code, Code::BadData);
        assert!(error.message.contains(reason), "{error}");
    }
    let row = json!({"question": "a", "answer": "b", "before": "c"});
    let error = read(row, json!({"history": "before"}), Pairs::Auto).unwrap_err();
    assert!(error.message.contains("\"before\" must be a list of [question, answer]"), "{error}");
    let row = json!({"Frage": "a", "Antwort": "b"});
    let error = read(row.clone(), json!({"text": "Brief"}), Pairs::Auto).unwrap_err();
    assert!(error.message.contains("no column \"Brief\""), "{error}");
}

#[test]
fn a_part_that_nobody_knows_is_refused() {
    let names = |name: &str| BTreeMap::from([(name.to_owned(), "Frage".to_owned())]);
    for known in
        ["prompt", "completion", "question", "answer", "system", "input", "messages", "text", "history"]
    {
        check_names(&names(known)).unwrap();
    }
    let error = check_names(&names("colour")).unwrap_err();
    assert_eq!(error.code, Code::BadOption);
    assert!(error.message.contains("columns.colour is no part"), "{error}");
}

#[test]
fn a_name_that_was_given_decides_also_where_the_cell_is_empty() {
    let row = json!({"question": "q", "answer": "short", "answer_long": null});
    let error = read(row, json!({"completion": "answer_long"}), Pairs::Auto).unwrap_err();
    assert!(error.message.contains("answer_long"), "{error}");
}

#[test]
fn lists_that_are_no_chats_are_text() {
    let row = json!({"prompt": "[{\"a\": 1}]", "completion": "[{\"b\": 2}]"});
    assert_eq!(kept(row.clone()).unwrap().row, row);
    let aside = json!({"conversation": "[Anna]: hi", "question": "q", "answer": "a"});
    assert_eq!(kept(aside).unwrap().row, pair("q", "a"));
}

#[test]
fn of_columns_with_the_same_meaning_the_one_that_says_something_is_read() {
    let row = json!({"instruction": "q", "output": "", "response": "a"});
    assert_eq!(kept(row).unwrap().row, pair("q", "a"));
    let asked = json!({"instruction": "q", "output": "a", "system": false});
    let kept = kept(asked).unwrap();
    assert_eq!((kept.row, kept.ignored), (pair("q", "a"), vec!["system".to_owned()]));
}
