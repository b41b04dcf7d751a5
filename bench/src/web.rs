//! The browser's face of the benchmarks; `tools/bench.mjs` calls it.

use std::cell::RefCell;

use js_sys::{Error, Function, Reflect};
use tabtune::cpu::Cpu;
use wasm_bindgen::prelude::*;

use crate::output::Stream;

thread_local! {
    /// The package's `openMachine`.
    static OPEN_MACHINE: RefCell<JsValue> = const { RefCell::new(JsValue::UNDEFINED) };
}

/// Opens the processor with so many workers, or as many as a page would take.
pub async fn processor(workers: Option<usize>) -> tabtune::error::Result<Cpu> {
    let open_machine = OPEN_MACHINE.with_borrow(JsValue::clone);
    Cpu::open(&open_machine, workers).await
}

/// Runs the benchmark that `arguments` ask for. `emit` is called with `"results"` or `"notes"` and a
/// text of one or more lines; `open_machine` is the package's. What goes wrong is thrown as an `Error` with `code`.
#[wasm_bindgen]
pub async fn run(arguments: Vec<String>, emit: Function, open_machine: JsValue) -> Result<(), JsValue> {
    OPEN_MACHINE.set(open_machine);
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
