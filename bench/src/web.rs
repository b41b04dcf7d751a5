//! The browser's face of the benchmarks; `tools/bench.mjs` calls it.

use js_sys::{Error, Function, Reflect};
use wasm_bindgen::prelude::*;

use crate::output::Stream;

/// Runs the benchmark that `arguments` ask for. `emit` is called with `"results"` or `"notes"` and a
/// text of one or more lines. What goes wrong is thrown as an `Error` with `code`.
#[wasm_bindgen]
pub async fn run(arguments: Vec<String>, emit: Function) -> Result<(), JsValue> {
    let write = |stream, text: &str| {
        let name = match stream {
            Stream::Results => "results",
            Stream::Notes => "notes",
        };
        // A listener that throws has nowhere to tell it, and the measurement does not depend on it.
        let _ = emit.call2(&JsValue::NULL, &JsValue::from_str(name), &JsValue::from_str(text));
    };
    crate::run(&arguments, &write).await.map_err(|error| {
        let thrown = Error::new(&error.to_string());
        // Setting a property of a plain object does not fail.
        let _ = Reflect::set(&thrown, &"code".into(), &error.code.as_str().into());
        thrown.into()
    })
}
