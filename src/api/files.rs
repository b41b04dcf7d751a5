//! Files that JavaScript reads for the engine.

use js_sys::{Function, Promise, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::convert::{code, message, property};
use crate::error::{Code, Error, Result};
use crate::files::Files;

/// An object with `size(name)` and `read(name, start, length)`, both giving promises, and perhaps a `place`:
/// what a person calls the folder, and a `gguf`: the name of the file that is the model.
pub struct JsFiles(pub JsValue);

impl JsFiles {
    async fn call(&self, method: &str, name: &str, arguments: &[JsValue]) -> Result<JsValue> {
        let failed = |thrown: JsValue| {
            Error::new(code(&thrown).unwrap_or(Code::Io), format!("{name}: {}", message(&thrown)))
        };
        let function: Function =
            Reflect::get(&self.0, &method.into()).and_then(|value| value.dyn_into()).map_err(failed)?;
        let all: js_sys::Array =
            std::iter::once(JsValue::from_str(name)).chain(arguments.iter().cloned()).collect();
        let promise: JsValue = function.apply(&self.0, &all).map_err(failed)?;
        JsFuture::from(Promise::resolve(&promise)).await.map_err(failed)
    }
}

#[async_trait::async_trait(?Send)]
impl Files for JsFiles {
    async fn size(&self, name: &str) -> Result<Option<u64>> {
        Ok(self.call("size", name, &[]).await?.as_f64().map(|size| size as u64))
    }

    fn place(&self) -> Option<String> {
        property(&self.0, "place").and_then(|place| place.as_string())
    }

    fn gguf(&self) -> Option<String> {
        property(&self.0, "gguf").and_then(|name| name.as_string())
    }

    async fn read(&self, name: &str, start: u64, len: usize) -> Result<Vec<u8>> {
        let arguments = [JsValue::from_f64(start as f64), JsValue::from_f64(len as f64)];
        let bytes = self.call("read", name, &arguments).await?;
        let Some(bytes) = bytes.dyn_ref::<Uint8Array>() else {
            return Err(Error::new(Code::Io, format!("{name}: read() gave no Uint8Array")));
        };
        if bytes.length() as usize != len {
            return Err(Error::new(Code::Io, format!("{name}: {} of {len} bytes came", bytes.length())));
        }
        Ok(bytes.to_vec())
    }
}
