//! What wgpu does not do in browsers yet: ask for subgroups (its table of WebGPU features lacks them),
//! work on a device that exists already, and say whose GPU it is.

use js_sys::{Array, Function, JsString, Object, Promise, Proxy, Reflect};
use wasm_bindgen::prelude::*;

const SUBGROUPS: &str = "subgroups";

/// Calls `request`, which asks an adapter for a device, and has the adapter answer with `given`, or else
/// add subgroups to the features asked for where it has them.
///
/// The adapter's method is replaced only while `request` runs, which must ask before it returns.
pub(super) fn with_own_answer<T>(given: Option<JsValue>, request: impl FnOnce() -> T) -> T {
    let Some((prototype, original)) = request_device_method() else { return request() };
    let apply = Closure::<dyn FnMut(Function, JsValue, Array) -> Result<JsValue, JsValue>>::new(
        move |original: Function, adapter: JsValue, arguments: Array| {
            if let Some(device) = &given {
                return Ok(Promise::resolve(device).into());
            }
            if has_subgroups(&adapter) {
                let features = Reflect::get(&arguments.get(0), &"requiredFeatures".into())?;
                features.dyn_into::<Array>()?.push(&SUBGROUPS.into());
            }
            original.apply(&adapter, &arguments)
        },
    );
    let handler = Object::new();
    let name = JsString::from("requestDevice");
    let replaced = Reflect::set(&handler, &"apply".into(), apply.as_ref())
        .and_then(|_| Reflect::set(&prototype, &name, &Proxy::new(&original, &handler)));
    let result = request();
    if replaced.is_ok() {
        // The same property was just set, so setting it back does not fail.
        let _ = Reflect::set(&prototype, &name, &original);
    }
    result
}

fn request_device_method() -> Option<(JsValue, Function)> {
    let class = Reflect::get(&js_sys::global(), &"GPUAdapter".into()).ok()?;
    let prototype = Reflect::get(&class, &"prototype".into()).ok()?;
    let method = Reflect::get(&prototype, &"requestDevice".into()).ok()?;
    Some((prototype, method.dyn_into().ok()?))
}

/// The vendor and architecture of a device's GPU, as far as the browser tells them, and the browser with its
/// version, which brings the compiler of shaders along.
pub(super) fn identity(device: &wgpu::Device) -> String {
    let property = |of: &JsValue, name: &str| Reflect::get(of, &name.into()).ok();
    let info = device.as_webgpu().and_then(|device| property(device.as_ref(), "adapterInfo"));
    let navigator = property(&js_sys::global(), "navigator");
    let told = [(&info, "vendor"), (&info, "architecture"), (&navigator, "userAgent")];
    told.map(|(of, name)| of.as_ref().and_then(|of| property(of, name)?.as_string()).unwrap_or_default())
        .join("|")
}

/// Whether a device got subgroups.
pub(super) fn device_has_subgroups(device: &wgpu::Device) -> bool {
    device.as_webgpu().is_some_and(|device| has_subgroups(device.as_ref()))
}

/// Whether the `features` of an adapter or a device hold subgroups.
fn has_subgroups(of: &JsValue) -> bool {
    let has = || {
        let features = Reflect::get(of, &"features".into()).ok()?;
        let has: Function = Reflect::get(&features, &"has".into()).ok()?.dyn_into().ok()?;
        has.call1(&features, &SUBGROUPS.into()).ok()?.as_bool()
    };
    has().unwrap_or(false)
}
