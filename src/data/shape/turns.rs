//! Chats as the field writes them, as messages of `role` and `content`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Pairs;
use super::columns::{Columns, is_filled};
use crate::bail;
use crate::data::example::{Message, kind};
use crate::error::{Error, Result};

/// Fields that say who speaks, and what their turn says.
const SPEAKERS: &[&str] = &["role", "from", "speaker", "sender", "author"];
const SAID: &[&str] = &["content", "value", "parts", "text", "message"];

/// Other words for the roles that every chat template knows.
const ROLES: &[(&str, &[&str])] = &[
    ("user", &["user", "human", "customer", "client", "visitor", "prompter", "input"]),
    (
        "assistant",
        &[
            "assistant",
            "gpt",
            "chatgpt",
            "model",
            "bot",
            "chatbot",
            "ai",
            "agent",
            "llm",
            "bing",
            "bard",
            "claude",
            "gemini",
            "output",
        ],
    ),
    ("system", &["system", "system_prompt", "sys"]),
];
/// Roles that some templates know, kept as they are.
const TOOL_ROLES: &[&str] = &["tool", "function", "observation", "ipython", "developer", "tool_response"];
/// What a tool answers and how it is called, in ShareGPT's words.
const ANSWERS: &[&str] =
    &["tool", "observation", "function_response", "tool_response", "function", "tool_result"];
const CALLS: &[&str] = &["function_call", "tool_call"];

/// Whether a value has the form of a chat.
pub fn is_chat(value: &Value) -> bool {
    match value {
        Value::Array(turns) => turns.first().is_some_and(Value::is_object),
        Value::Object(lists) => !lists.is_empty() && lists.values().all(Value::is_array),
        Value::String(text) if text.trim_start().starts_with(['[', '{']) => {
            let is_list = |parsed: Value| parsed.is_array() || parsed.is_object();
            is_python(text) || serde_json::from_str(text).is_ok_and(is_list)
        }
        _ => false,
    }
}

/// Whether a text is a list of messages as Python prints it.
pub fn is_python_chat(text: &str) -> bool {
    is_python(text) && ["'role'", "'from'"].iter().any(|field| text.contains(field))
}

/// The messages of a chat. Errors of code `bad-data` name the turn by `column` and number.
pub fn chat(column: &str, value: &Value) -> Result<Vec<Message>> {
    let mut messages = Vec::new();
    for (index, turn) in items(column, value)?.iter().enumerate() {
        let named = |error: Error| Error::new(error.code, format!("{column}[{index}] {}", error.message));
        match exchange(turn) {
            Some(both) => messages.extend(both),
            None => messages.push(message(turn).map_err(named)?),
        }
    }
    Ok(messages)
}

/// A turn that holds a question and its answer, as `{"input": "…", "output": "…"}`.
fn exchange(turn: &Value) -> Option<[Message; 2]> {
    let fields = turn.as_object().filter(|fields| !SPEAKERS.iter().any(|name| fields.contains_key(*name)))?;
    let names = BTreeMap::new();
    let (_, columns) = Columns::new(fields, &names).shape(Pairs::Chat)?;
    let text = |parts: [&str; 2]| fields[parts.iter().find_map(|part| columns.get(part))?].as_str();
    let (asked, answered) = (text(["prompt", "instruction"])?, text(["completion", "output"])?);
    Some([Message::new("user", asked), Message::new("assistant", answered)])
}

/// The turns before a question: `[["question", "answer"], …]` or a chat; `None` where it is neither.
pub fn history(value: &Value) -> Option<Vec<Message>> {
    let parsed = value.as_str().and_then(|text| serde_json::from_str(text).ok());
    let turns = parsed.as_ref().unwrap_or(value).as_array()?;
    let mut messages = Vec::new();
    for turn in turns {
        match turn {
            Value::Array(pair) => {
                let [asked, answered] = pair.as_slice() else { return None };
                messages.push(Message::new("user", asked.as_str()?));
                messages.push(Message::new("assistant", answered.as_str()?));
            }
            turn => messages.push(message(turn).ok()?),
        }
    }
    Some(messages)
}

/// A list, the text of one, as tables hold it, or the lists of its fields, as `datasets` stores a sequence.
fn items(column: &str, value: &Value) -> Result<Vec<Value>> {
    let list = match value {
        Value::Array(list) => list.clone(),
        Value::Object(lists) => match transposed(lists) {
            Some(list) => list,
            None => bail!(BadData, "{column:?} must be a list of messages, but is an object"),
        },
        Value::String(text) => match serde_json::from_str(text) {
            Ok(parsed @ (Value::Array(_) | Value::Object(_) | Value::String(_))) => {
                return items(column, &parsed);
            }
            _ if is_python(text) => bail!(
                BadData,
                "{column:?} is a list as Python prints it, not JSON; write the rows as JSON lines, e.g. by \
                 df.to_json(\"rows.jsonl\", orient=\"records\", lines=True), or the column by json.dumps"
            ),
            _ => bail!(BadData, "{column:?} must be a list of messages, but is a string that is none"),
        },
        other => bail!(BadData, "{column:?} must be a list of messages, but is {}", kind(other)),
    };
    if list.is_empty() {
        bail!(BadData, "{column:?} is empty");
    }
    Ok(list)
}

/// `{"role": [a, b], "content": [c, d]}` as `[{"role": a, "content": c}, {"role": b, "content": d}]`.
fn transposed(lists: &Map<String, Value>) -> Option<Vec<Value>> {
    let length = lists.values().next()?.as_array()?.len();
    let is_table = lists.values().all(|list| list.as_array().is_some_and(|list| list.len() == length));
    let turn = |index: usize| lists.iter().map(|(name, list)| (name.clone(), list[index].clone())).collect();
    is_table.then(|| (0..length).map(turn).map(Value::Object).collect())
}

fn is_python(text: &str) -> bool {
    let text = text.trim_start();
    text.starts_with(['[', '(', '{'])
        && (text.contains("{'") || text.contains("array(") || text.contains("': "))
}

/// One turn of a chat as a message. Fields that neither say who speaks nor what is said stay, for the chat
/// template may read them; those that hold nothing count as absent.
pub fn message(turn: &Value) -> Result<Message> {
    let Value::Object(fields) = turn else { bail!(BadData, "must be an object, but is {}", kind(turn)) };
    let there = |names: &[&'static str]| {
        names.iter().copied().find(|name| fields.get(*name).is_some_and(|value| !value.is_null()))
    };
    let Some(speaker) = there(SPEAKERS) else {
        bail!(BadData, "has no \"role\"; convert it to {{\"role\": \"user\", \"content\": \"…\"}}")
    };
    let role = role_of(speaker, &fields[speaker])?;
    let said = there(SAID);
    let mut read = Map::new();
    for (name, value) in fields {
        if name == speaker {
            read.insert("role".into(), role.into());
        } else if Some(name.as_str()) == said {
            let text = match content(value) {
                // What a tool gives back is data.
                Err(_) if role == "tool" => value.to_string(),
                text => text?,
            };
            read.insert("content".into(), text.into());
        } else if is_filled(value) {
            read.insert(name.clone(), value.clone());
        }
    }
    if role == CALLS[0] {
        return call(read);
    }
    if !read.contains_key("content") {
        let calls = ["tool_calls", "function_call"].iter().any(|name| read.contains_key(*name));
        // A turn that calls a tool may say nothing.
        if !calls {
            let name = if speaker == "from" { "value" } else { "content" };
            let null = if fields.contains_key(name) { ": it is null" } else { "" };
            bail!(BadData, "has no {name:?}{null}");
        }
        read.insert("content".into(), "".into());
    }
    Message::from_json(&Value::Object(read))
}

/// Who speaks, in the words that chat templates know.
fn role_of<'a>(field: &str, value: &'a Value) -> Result<&'a str> {
    let Some(written) = value.as_str().or_else(|| value["role"].as_str()) else {
        bail!(BadData, "has a {field:?} that must be a string, but is {}", kind(value));
    };
    let word = written.trim().trim_end_matches(':').to_lowercase().replace([' ', '-'], "_");
    if word.starts_with("gpt") {
        return Ok("assistant");
    }
    if let Some((role, _)) = ROLES.iter().find(|(_, words)| words.contains(&word.as_str())) {
        return Ok(role);
    }
    let known = |words: &[&'static str]| words.iter().copied().find(|known| *known == word);
    if field == "role" {
        // Another role may be one that the model's template knows.
        return Ok(known(TOOL_ROLES).unwrap_or(written));
    }
    if known(CALLS).is_some() {
        return Ok(CALLS[0]);
    }
    match known(ANSWERS) {
        Some(_) => Ok("tool"),
        None => bail!(
            BadData,
            "is from {written:?}, but \"human\", \"gpt\", \"system\", \"function_call\" and \"observation\" are \
             known; convert the speakers to user and assistant"
        ),
    }
}

/// ShareGPT's call of a tool: its text is the call as JSON, or a list of calls.
fn call(mut read: Map<String, Value>) -> Result<Message> {
    let text = read.get("content").and_then(Value::as_str).unwrap_or_default();
    let parsed: Value = serde_json::from_str(text).unwrap_or_default();
    let calls = parsed.as_array().cloned().unwrap_or_else(|| vec![parsed]);
    let tool_call = |call: &Value| {
        let name = call["name"].as_str()?;
        let arguments = if call["arguments"].is_null() { json!({}) } else { call["arguments"].clone() };
        Some(json!({"type": "function", "function": {"name": name, "arguments": arguments}}))
    };
    read.insert("role".into(), "assistant".into());
    // What is no call of a known form is learnt as the text that it is.
    if let Some(calls) =
        calls.iter().map(tool_call).collect::<Option<Vec<_>>>().filter(|calls| !calls.is_empty())
    {
        read.insert("content".into(), "".into());
        read.insert("tool_calls".into(), calls.into());
    }
    Message::from_json(&Value::Object(read))
}

/// What is said, as one text: a string, a number, or the texts of a list of parts.
fn content(value: &Value) -> Result<String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        Value::Array(parts) => parts.iter().map(content).collect(),
        Value::Object(part) => part_text(part),
        Value::Null => Ok(String::new()),
    }
}

fn part_text(part: &Map<String, Value>) -> Result<String> {
    let kind = part.get("type").or(part.get("content_type")).and_then(Value::as_str);
    if let None | Some("text" | "input_text" | "output_text") = kind {
        for name in ["text", "content", "value", "parts"] {
            match part.get(name) {
                // Some chat APIs wrap the text once more: {"text": {"value": "…"}}.
                Some(Value::Object(inner)) => return part_text(inner),
                Some(text @ (Value::String(_) | Value::Array(_))) => return content(text),
                _ => (),
            }
        }
    }
    let names = || part.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    let what = kind.map_or_else(|| format!("the fields {}", names()), |kind| format!("the type {kind:?}"));
    bail!(
        BadData,
        "has content with {what}; only text is supported, no images, audio, files or tool calls in parts"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn said(turns: Value) -> Value {
        json!(chat("messages", &turns).unwrap())
    }

    fn turn(role: &str, content: &str) -> Value {
        json!({"role": role, "content": content})
    }

    #[test]
    fn roles_and_speakers_in_any_spelling_are_those_that_templates_know() {
        for (words, role) in [
            (&["user", "User", "human", "HUMAN ", "Human:", "customer", "prompter"][..], "user"),
            (
                &[
                    "assistant",
                    "Assistant",
                    "gpt",
                    "GPT",
                    "bot",
                    "ai",
                    "Chatbot",
                    "chatgpt",
                    "model",
                    "agent",
                ],
                "assistant",
            ),
            (&["system", "System"], "system"),
            (&["tool", "Tool"], "tool"),
        ] {
            for word in words {
                assert_eq!(
                    said(json!([{"role": word, "content": "Hi"}])),
                    json!([turn(role, "Hi")]),
                    "{word}"
                );
                assert_eq!(said(json!([{"from": word, "value": "Hi"}])), json!([turn(role, "Hi")]), "{word}");
                assert_eq!(
                    said(json!([{"speaker": word, "text": "Hi"}])),
                    json!([turn(role, "Hi")]),
                    "{word}"
                );
            }
        }
        // A template may know more roles than these.
        for role in ["observation", "ipython", "developer", "Narrator"] {
            assert_eq!(said(json!([turn(role, "Hi")])), json!([turn(role, "Hi")]));
        }
    }

    #[test]
    fn tools_of_sharegpt_are_calls_and_roles_of_the_template() {
        let call = |arguments: Value| {
            json!([{"role": "assistant", "content": "", "tool_calls": [
                {"type": "function", "function": {"name": "news", "arguments": arguments}}]}])
        };
        let from = |value: &str| json!([{"from": "function_call", "value": value}]);
        assert_eq!(said(from("{\"name\": \"news\"}")), call(json!({})));
        assert_eq!(said(from("[{\"name\": \"news\", \"arguments\": {\"n\": 1}}]")), call(json!({"n": 1})));
        assert_eq!(said(from("news()")), json!([turn("assistant", "news()")]));
        assert_eq!(said(json!([{"from": "observation", "value": "[]"}])), json!([turn("tool", "[]")]));
    }

    #[test]
    fn other_fields_are_left_to_the_template() {
        let calls = json!([{"id": "c1", "type": "function", "function": {"name": "w", "arguments": "{}"}}]);
        for (turn, expected) in [
            (
                json!({"role": "user", "content": "Hi", "id": 1, "timestamp": 1.5, "train": true, "name": "Eve"}),
                json!({"role": "user", "content": "Hi", "id": 1, "timestamp": 1.5, "train": true, "name": "Eve"}),
            ),
            (
                json!({"role": "assistant", "content": "Hi", "tool_calls": [], "metadata": {}, "name": null}),
                json!({"role": "assistant", "content": "Hi"}),
            ),
            (
                json!({"from": "gpt", "value": "Hi", "weight": 0}),
                json!({"role": "assistant", "content": "Hi", "weight": 0}),
            ),
            (
                json!({"role": "assistant", "content": null, "tool_calls": calls}),
                json!({"role": "assistant", "tool_calls": calls, "content": ""}),
            ),
            (
                json!({"role": "tool", "tool_call_id": "c1", "content": "sunny"}),
                json!({"role": "tool", "tool_call_id": "c1", "content": "sunny"}),
            ),
        ] {
            assert_eq!(said(json!([turn])), json!([expected]));
        }
    }

    #[test]
    fn content_is_the_text_of_its_parts() {
        for content in [
            json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]),
            json!([{"type": "input_text", "text": "ab"}]),
            json!([{"type": "output_text", "text": "ab", "annotations": []}]),
            json!([{"text": "a"}, {"text": "b"}]),
            json!(["a", "b"]),
            json!({"type": "text", "text": "ab"}),
            json!({"content_type": "text", "parts": ["ab"]}),
            json!([{"type": "text", "text": {"value": "ab", "annotations": []}}]),
        ] {
            assert_eq!(said(json!([{"role": "user", "content": content}])), json!([turn("user", "ab")]));
        }
        assert_eq!(
            said(json!([{"role": "model", "parts": [{"text": "ab"}]}])),
            json!([turn("assistant", "ab")])
        );
        assert_eq!(said(json!([{"role": "user", "content": 4}])), json!([turn("user", "4")]));
    }

    #[test]
    fn a_turn_may_hold_a_question_and_its_answer() {
        let turns = json!([turn("user", "Hi"), turn("assistant", "Hello.")]);
        for (asked, answered) in [("input", "output"), ("human", "assistant"), ("question", "answer")] {
            let exchange = Map::from_iter([(asked.into(), "Hi".into()), (answered.into(), "Hello.".into())]);
            assert_eq!(said(json!([exchange])), turns, "{asked}");
        }
    }

    #[test]
    fn what_a_tool_gives_back_may_be_data() {
        assert_eq!(
            said(json!([{"role": "tool", "content": {"sunny": true}}])),
            json!([turn("tool", "{\"sunny\":true}")])
        );
    }

    #[test]
    fn a_table_of_fields_is_a_chat_too() {
        let turns = json!([turn("user", "Hi"), turn("assistant", "Hello.")]);
        let table = json!({"role": ["user", "assistant"], "content": ["Hi", "Hello."]});
        assert_eq!(said(table.clone()), turns);
        assert_eq!(said(Value::from(table.to_string())), turns);
        assert_eq!(said(Value::from(json!(turns.to_string()).to_string())), turns, "text of a text");
        assert_eq!(said(json!({"from": ["human", "gpt"], "value": ["Hi", "Hello."]})), turns);
    }

    #[test]
    fn what_is_wrong_with_a_turn_is_said() {
        let image = json!({"type": "image_url", "image_url": {"url": "data:"}});
        for (turn, reason) in [
            (json!("Hi"), "messages[0] must be an object, but is a string"),
            (json!({"content": "Hi"}), "messages[0] has no \"role\""),
            (json!({"role": null, "content": "Hi"}), "has no \"role\""),
            (json!({"role": 3, "content": "Hi"}), "has a \"role\" that must be a string, but is a number"),
            (json!({"role": "user"}), "messages[0] has no \"content\""),
            (json!({"role": "user", "content": null}), "has no \"content\": it is null"),
            (json!({"from": "gpt"}), "messages[0] has no \"value\""),
            (json!({"from": "dog", "value": "wau"}), "messages[0] is from \"dog\""),
            (
                json!({"role": "user", "content": [{"type": "text", "text": "See"}, image]}),
                "\"image_url\"; only text",
            ),
            (json!({"role": "user", "content": [{"image": "data:"}]}), "the fields image; only text"),
        ] {
            let error = chat("messages", &json!([turn])).unwrap_err();
            assert_eq!(error.code, Code::BadData);
            assert!(error.message.contains(reason), "{error}");
        }
        let uneven = chat("messages", &json!({"role": ["user"], "content": []})).unwrap_err();
        assert!(uneven.message.contains("must be a list of messages, but is an object"), "{uneven}");
    }
}
