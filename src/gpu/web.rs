//! A browser's part of a context: what wgpu doesn't hand on.

use js_sys::{Function, Promise, Reflect};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;

use super::Context;

fn get(object: &JsValue, name: &str) -> JsValue {
    Reflect::get(object, &name.into()).unwrap_or(JsValue::UNDEFINED)
}

fn call(object: &JsValue, name: &str, argument: &JsValue) -> Option<JsValue> {
    get(object, name).dyn_ref::<Function>()?.call1(object, argument).ok()
}

/// `navigator.gpu`, of a page or of a worker; `None` where there is no WebGPU.
fn gpu() -> Option<JsValue> {
    let gpu = get(&get(&js_sys::global(), "navigator"), "gpu");
    gpu.is_object().then_some(gpu)
}

/// The reason that there is no adapter, if the page knows it.
pub(super) fn why_no_adapter() -> Option<&'static str> {
    if gpu().is_some() {
        return None;
    }
    Some(match get(&js_sys::global(), "isSecureContext").as_bool() {
        Some(false) => "this page has no WebGPU, because its context isn't secure: serve it from https or localhost",
        _ => "this browser has no WebGPU",
    })
}

/// The adapter that a page gets, in the words of its `GPUAdapterInfo`; empty if the browser says nothing of it.
pub(super) async fn adapter_name() -> String {
    let options = js_sys::Object::new();
    let _ = Reflect::set(&options, &"powerPreference".into(), &"high-performance".into());
    let Some(promise) = gpu().and_then(|gpu| call(&gpu, "requestAdapter", &options)) else { return String::new() };
    let Ok(adapter) = JsFuture::from(Promise::from(promise)).await else { return String::new() };
    let info = get(&adapter, "info");
    let words = ["vendor", "architecture", "device", "description"].map(|name| get(&info, name).as_string());
    words.into_iter().flatten().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Milliseconds between turns of the event loop, until a browser has told the loss of a device. Firefox takes longer than Chromium.
const PAUSES: [u32; 10] = [0, 0, 1, 2, 4, 8, 16, 32, 64, 128];

/// Lets the event loop turn until the device is known to be lost, or some times.
pub(super) async fn turns(context: &Context) {
    for pause in PAUSES {
        if context.lost.get().is_some() {
            return;
        }
        let promise = Promise::new(&mut |resolve, _| {
            let global = js_sys::global();
            if let Some(set_timeout) = get(&global, "setTimeout").dyn_ref::<Function>() {
                let _ = set_timeout.call2(&global, &resolve, &pause.into());
            }
        });
        let _ = JsFuture::from(promise).await;
    }
}
