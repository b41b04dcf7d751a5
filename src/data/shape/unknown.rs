//! Why a row has no known shape, and what to do about it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::columns::Columns;
use crate::bail;
use crate::error::{Code, Error, Result};

/// A part, and what it is of no use without.
const PARTNERS: &[(&str, &str)] = &[
    ("prompt", "completion"),
    ("chosen", "rejected"),
    ("instruction", "output"),
    ("question", "answer"),
    ("query", "response"),
    ("input", "output"),
];

/// The reason, of code `bad-data`.
pub fn reason(row: &Map<String, Value>, names: &BTreeMap<String, String>) -> Error {
    let columns = Columns::new(row, names);
    let reason = misnamed(row, names)
        .or_else(|| container(row))
        .or_else(|| PARTNERS.iter().find_map(|pair| half(row, &columns, pair)))
        .unwrap_or_else(|| no_names(row));
    Error::new(Code::BadData, reason)
}

/// Refuses what is no row but a whole table.
pub fn refuse_tables(row: &Map<String, Value>) -> Result<()> {
    let is_number = |name: &String| name.parse::<u64>().is_ok();
    let is_numbered = |value: &Value| {
        value.as_object().is_some_and(|cells| !cells.is_empty() && cells.keys().all(is_number))
    };
    let cells = |value: &Value| {
        let cells =
            value.as_array().filter(|cells| !cells.iter().any(|cell| cell.is_object() || cell.is_array()));
        cells.map(Vec::len).filter(|&length| length > 0)
    };
    let length = row.values().next().and_then(cells);
    let is_lists = row.len() > 1 && length.is_some() && row.values().all(|value| cells(value) == length);
    let is_split = ["columns", "data"].iter().all(|name| row.get(*name).is_some_and(Value::is_array));
    if is_lists || is_split || !row.is_empty() && row.values().all(is_numbered) {
        bail!(
            BadData,
            "this is a whole table written by columns, not a row; write an object for each row, e.g. by \
             df.to_json(\"rows.jsonl\", orient=\"records\", lines=True)"
        );
    }
    Ok(())
}

fn list(row: &Map<String, Value>) -> String {
    let name = |(name, value): (&String, &Value)| {
        let null = if value.is_null() { " (null: no value)" } else { "" };
        format!("{name:?}{null}")
    };
    if row.is_empty() { "nothing".into() } else { row.iter().map(name).collect::<Vec<_>>().join(", ") }
}

fn misnamed(row: &Map<String, Value>, names: &BTreeMap<String, String>) -> Option<String> {
    let columns = Columns::new(row, names);
    let (part, column) = names.iter().find(|(_, column)| columns.spelt(column).is_none())?;
    Some(format!("there is no column {column:?}, which was named for {part:?}; the row has {}", list(row)))
}

/// An object that is no row, but holds chats or rows.
fn container(row: &Map<String, Value>) -> Option<String> {
    let is_tree = |value: &Value| {
        value.as_object().is_some_and(|nodes| nodes.values().any(|node| node.get("message").is_some()))
    };
    if row.get("mapping").is_some_and(is_tree) {
        return Some(
            "this is a chat assistant's own export, a tree of messages under \"mapping\", which is not read; convert \
             each conversation to one line of {\"messages\": [{\"role\": \"user\", \"content\": \"…\"}, …]}"
                .into(),
        );
    }
    let holds_rows =
        |value: &Value| value.as_array().is_some_and(|rows| rows.first().is_some_and(Value::is_object));
    let mut holding = row.iter().filter(|(_, value)| holds_rows(value));
    let (Some((column, _)), None) = (holding.next(), holding.next()) else { return None };
    Some(format!(
        "a row needs other columns than {}; if the rows are the list under {column:?}, write that list alone; if it is \
         a chat, name it by columns: {{\"messages\": {column:?}}}",
        list(row)
    ))
}

/// A row that has one half of a pair.
fn half(row: &Map<String, Value>, columns: &Columns<'_>, (has, lacks): &(&str, &str)) -> Option<String> {
    let has = columns.spelt(has)?;
    Some(format!("a row with {has:?} needs {lacks:?}, but has {}", list(row)))
}

fn no_names(row: &Map<String, Value>) -> String {
    let texts: Vec<&String> =
        row.iter().filter(|(_, value)| value.is_string()).map(|(name, _)| name).collect();
    let proposal = match texts.as_slice() {
        [asked, answered] => {
            format!("; did you mean columns: {{\"prompt\": {asked:?}, \"completion\": {answered:?}}}?")
        }
        _ => String::new(),
    };
    format!(
        "a row needs \"messages\", \"prompt\" and \"completion\", \"question\" and \"answer\", \"text\", \"instruction\" and \
         \"output\", \"conversations\", or \"chosen\" and \"rejected\", but has {}; name the columns that \
         stand for these{proposal}",
        list(row)
    )
}
