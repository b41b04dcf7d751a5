//! Files that JavaScript writes for the engine.

use js_sys::{Function, Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::convert::{code, message};
use crate::error::{Code, Error, Result};
use crate::export::Sink;

/// An object with `create(name, bytes)`, `write(piece)` and `finish()`, all giving promises.
pub struct JsSink(pub JsValue);

impl JsSink {
    async fn call(&self, method: &str, arguments: &[JsValue]) -> Result<()> {
        let failed = |thrown: JsValue| Error::new(code(&thrown).unwrap_or(Code::Io), message(&thrown));
        let function: Function =
            Reflect::get(&self.0, &method.into()).and_then(|value| value.dyn_into()).map_err(failed)?;
        let arguments: js_sys::Array = arguments.iter().cloned().collect();
        let promise: JsValue = function.apply(&self.0, &arguments).map_err(failed)?;
        JsFuture::from(Promise::resolve(&promise)).await.map_err(failed)?;
        Ok(())
    }
}

#[async_trait::async_trait(?Send)]
impl Sink for JsSink {
    async fn create(&mut self, name: &str, bytes: u64) -> Result<()> {
        self.call("create", &[JsValue::from_str(name), JsValue::from_f64(bytes as f64)]).await
    }

    async fn write(&mut self, piece: &[u8]) -> Result<()> {
        self.call("write", &[Uint8Array::from(piece).into()]).await
    }

    async fn finish(&mut self) -> Result<()> {
        self.call("finish", &[]).await
    }
}
