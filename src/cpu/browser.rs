//! The machine that runs kernels in browsers, which is the package's: `www/package/cpu/machine.ts`.

use js_sys::{Array, Function, JsString, Promise, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use super::Cpu;
use crate::error::{Code, Error, Result};

/// A memory with workers on it that run kernels there. What is asked for is done in that order; what fails for good is
/// told by the next answer.
pub(super) struct Machine {
    object: JsValue,
    workers: usize,
    flavour: &'static str,
    own_bytes: u64,
}

impl Cpu {
    /// Opens the processor by the package's `openMachine`, with so many workers or as many as there are cores to spare.
    ///
    /// Code `cpu-unavailable` where the browser has no SIMD, `io` where a file of the package cannot be loaded.
    pub async fn open(opener: &JsValue, workers: Option<usize>) -> Result<Self> {
        let workers = workers.map_or(JsValue::UNDEFINED, |workers| JsValue::from_f64(workers as f64));
        let opener: &Function = opener
            .dyn_ref()
            .ok_or_else(|| Error::new(Code::BadState, "the page gave no way to open the CPU engine"))?;
        let opened = opener.call1(&JsValue::NULL, &workers).map_err(failed)?;
        let object = JsFuture::from(Promise::resolve(&opened)).await.map_err(failed)?;
        let property = |name: &str| Reflect::get(&object, &name.into()).map_err(failed);
        let workers = property("workers")?.as_f64().unwrap_or_default() as usize;
        let relaxed = property("flavour")?.as_string().is_some_and(|flavour| flavour == "relaxed-simd");
        let flavour = if relaxed { "relaxed-simd" } else { "simd128" };
        let own_bytes = property("own_bytes")?.as_f64().unwrap_or_default() as u64;
        Ok(Cpu::on(Machine { object, workers, flavour, own_bytes }))
    }
}

impl Machine {
    pub fn workers(&self) -> usize {
        self.workers
    }

    /// "simd128" or "relaxed-simd".
    pub fn flavour(&self) -> &'static str {
        self.flavour
    }

    /// Stacks and panels of the workers, and the module's own data.
    pub fn own_bytes(&self) -> u64 {
        self.own_bytes
    }

    /// The bytes of the kernels' memory.
    pub fn reserved_bytes(&self) -> Option<u64> {
        let bytes = Reflect::get(&self.object, &JsString::from("bytes")).ok()?;
        bytes.as_f64().map(|bytes| bytes as u64)
    }

    /// The address of so many bytes in the kernels' memory, aligned to 64, and zero when all that was started before is
    /// through. Code `out-of-memory` where the browser gives no more.
    pub fn allocate(&self, bytes: u64) -> Result<u64> {
        let address = self.call("allocate", &[number(bytes)])?;
        Ok(address.as_f64().unwrap_or_default() as u64)
    }

    /// Takes back what [`Machine::allocate`] gave for so many bytes. What was started before may still use them.
    pub fn free(&self, address: u64, bytes: u64) {
        self.tell("free", &[number(address), number(bytes)]);
    }

    /// Writes bytes when all that was started before is through.
    pub fn write(&self, address: u64, bytes: &[u8]) {
        // SAFETY: The machine copies the bytes before it returns, and nothing allocates here meanwhile.
        let view = unsafe { Uint8Array::view(bytes) };
        self.tell("write", &[number(address), view.into()]);
    }

    /// Starts the calls of a list in the kernels' memory after all that was started before, and returns at once.
    pub fn start(&self, list: u64, count: usize) {
        self.tell("start", &[number(list), number(count as u64)]);
    }

    /// Bytes as they are when all that was started before is through. Code `device-lost` where a worker has stopped.
    pub fn read(&self, address: u64, bytes: usize) -> impl Future<Output = Result<Vec<u8>>> + use<> {
        let read = self.answer("read", &[number(address), number(bytes as u64)]);
        async { Ok(read.await?.unchecked_into::<Uint8Array>().to_vec()) }
    }

    /// Waits until all that was started is through. Code `device-lost` where a worker has stopped.
    pub async fn idle(&self) -> Result<()> {
        self.answer("idle", &[]).await.map(drop)
    }

    fn call(&self, method: &str, arguments: &[JsValue]) -> Result<JsValue> {
        let method = Reflect::get(&self.object, &JsString::from(method)).map_err(failed)?;
        let arguments: Array = arguments.iter().cloned().collect();
        Reflect::apply(method.unchecked_ref::<Function>(), &self.object, &arguments).map_err(failed)
    }

    /// Calls what answers nothing: only a defect makes it fail.
    fn tell(&self, method: &str, arguments: &[JsValue]) {
        if let Err(error) = self.call(method, arguments) {
            panic!("{method}: {error}");
        }
    }

    /// Asks at once, and waits for the answer when that is polled.
    fn answer(&self, method: &str, arguments: &[JsValue]) -> impl Future<Output = Result<JsValue>> + use<> {
        let promise = self.call(method, arguments);
        async { JsFuture::from(promise?.unchecked_into::<Promise>()).await.map_err(failed) }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.tell("close", &[]);
    }
}

/// A size or an address, which are below 2^53.
fn number(value: u64) -> JsValue {
    JsValue::from_f64(value as f64)
}

/// An error that the package threw, or another one of the browser.
fn failed(thrown: JsValue) -> Error {
    let property = |name: &str| Reflect::get(&thrown, &name.into()).ok().and_then(|value| value.as_string());
    let code = property("code").and_then(|code| Code::named(&code)).unwrap_or(Code::Internal);
    Error::new(code, property("message").unwrap_or_else(|| format!("{thrown:?}")))
}
