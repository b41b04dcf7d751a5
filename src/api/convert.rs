//! Plain objects in and out, and errors as JavaScript throws them.

use js_sys::{Array, Function, Reflect};
use serde::Serialize;
use wasm_bindgen::prelude::*;

use crate::error::{Code, Error, Result};

/// A value as a plain object: maps are objects, numbers are numbers.
pub fn to_js(value: &impl Serialize) -> Result<JsValue> {
    let serializer = serde_wasm_bindgen::Serializer::json_compatible();
    value.serialize(&serializer).map_err(|error| Error::new(Code::Internal, error))
}

/// A plain object as JSON; undefined is null.
pub fn from_js(value: JsValue, name: &str) -> Result<serde_json::Value> {
    if value.is_undefined() || value.is_null() {
        return Ok(serde_json::Value::Null);
    }
    serde_wasm_bindgen::from_value(value)
        .map_err(|error| Error::new(Code::BadOption, format!("{name}: {error}")))
}

/// An `Error` whose message is the bare cause, with the properties `code` and `context`.
pub fn thrown(error: Error) -> JsValue {
    let object = js_sys::Error::new(&error.message);
    let context: Array = error.context.iter().map(|step| JsValue::from_str(step)).collect();
    // Setting a property of an Error does not fail.
    let _ = Reflect::set(&object, &"code".into(), &error.code.as_str().into());
    let _ = Reflect::set(&object, &"context".into(), &context);
    object.into()
}

/// The text of something that JavaScript threw.
pub fn message(thrown: &JsValue) -> String {
    match thrown.dyn_ref::<js_sys::Error>() {
        Some(error) => String::from(error.message()),
        None => format!("{thrown:?}"),
    }
}

/// The code of an error that JavaScript threw, where it is one of this package's.
pub fn code(thrown: &JsValue) -> Option<Code> {
    property(thrown, "code")?.as_string().and_then(|code| Code::named(&code))
}

/// A property that is neither undefined nor null.
pub fn property(object: &JsValue, name: &str) -> Option<JsValue> {
    let value = Reflect::get(object, &name.into()).ok()?;
    (!value.is_undefined() && !value.is_null()).then_some(value)
}

#[derive(Serialize)]
struct Progress<'a> {
    status: &'static str,
    name: &'a str,
    file: &'a str,
    loaded: u64,
    total: u64,
    /// Percent.
    progress: f64,
}

/// Tells a listener of progress, in transformers.js's shape.
pub fn report(listener: &Option<Function>, name: &str, file: &str, loaded: u64, total: u64) {
    let Some(listener) = listener else { return };
    let progress = if total == 0 { 100.0 } else { 100.0 * loaded as f64 / total as f64 };
    if let Ok(event) = to_js(&Progress { status: "progress", name, file, loaded, total, progress }) {
        // A listener that throws must not end the work it listens to.
        let _ = listener.call1(&JsValue::NULL, &event);
    }
}

/// Tells a listener of work whose end is not known.
pub fn report_phase(listener: &Option<Function>, status: &'static str) {
    #[derive(Serialize)]
    struct Phase {
        status: &'static str,
        name: &'static str,
        file: &'static str,
    }
    let Some(listener) = listener else { return };
    if let Ok(event) = to_js(&Phase { status, name: "", file: "" }) {
        // A listener that throws must not end the work it listens to.
        let _ = listener.call1(&JsValue::NULL, &event);
    }
}

/// Whether a listener that is told two numbers wants the work to go on: it says so unless it returns false.
pub fn goes_on(listener: &Option<Function>, done: u64, total: u64) -> bool {
    let Some(listener) = listener else { return true };
    let answer = listener.call2(&JsValue::NULL, &(done as f64).into(), &(total as f64).into());
    answer.map_or(true, |answer| answer.as_bool() != Some(false))
}
