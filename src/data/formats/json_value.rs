//! One JSON value, as strict programs and Python write it.

use serde_json::Value;

/// Parses one JSON value. The message says where in these bytes the fault is.
///
/// Python's json module writes a missing number as `NaN` and an endless one as `Infinity`, which JSON does not
/// know. They say nothing to learn from, and are read as null.
pub fn parse(bytes: &[u8]) -> Result<Value, String> {
    let cause = match serde_json::from_slice(bytes) {
        Ok(value) => return Ok(value),
        Err(cause) => cause,
    };
    if let Some(strict) = without_python_numbers(bytes)
        && let Ok(value) = serde_json::from_slice(&strict)
    {
        return Ok(value);
    }
    let whole = cause.to_string();
    let what = whole.split(" at line ").next().unwrap_or(&whole);
    // A value that is written over several lines has a line of its own to name.
    let line = if cause.line() > 1 { format!("line {} ", cause.line()) } else { String::new() };
    Err(format!("not JSON: {what} at {line}column {}", cause.column()))
}

/// The same with null for the numbers that only Python knows, or `None` if there are none.
fn without_python_numbers(bytes: &[u8]) -> Option<Vec<u8>> {
    const NUMBERS: [&[u8]; 3] = [b"NaN", b"-Infinity", b"Infinity"];
    let (mut strict, mut found) = (Vec::with_capacity(bytes.len()), false);
    let (mut rest, mut in_string) = (bytes, false);
    while let Some(&byte) = rest.first() {
        let number = NUMBERS.iter().find(|number| !in_string && rest.starts_with(number));
        let taken = match (number, byte) {
            (Some(number), _) => number.len(),
            (None, b'\\') if in_string => 2.min(rest.len()),
            _ => 1,
        };
        in_string ^= byte == b'"';
        found |= number.is_some();
        strict.extend_from_slice(if number.is_some() { b"null" } else { &rest[..taken] });
        rest = &rest[taken..];
    }
    found.then_some(strict)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_python_writes_for_no_number_is_null() {
        let text = br#"{"a": NaN, "b": [Infinity, -Infinity], "c": "NaN \\", "d": "\"NaN", "e":NaN}"#;
        let value = json!({"a": null, "b": [null, null], "c": "NaN \\", "d": "\"NaN", "e": null});
        assert_eq!(parse(text), Ok(value));
        assert_eq!(parse(b"NaN"), Ok(json!(null)));
    }

    #[test]
    fn the_fault_is_told_as_it_stands() {
        assert_eq!(parse(b"{\"a\": NaN,}").unwrap_err(), "not JSON: expected value at column 7");
        assert_eq!(parse(b"{\n\"a\": 1 2}").unwrap_err(), "not JSON: expected `,` or `}` at line 2 column 8");
        assert_eq!(parse(b"Nan").unwrap_err(), "not JSON: expected value at column 1");
    }
}
