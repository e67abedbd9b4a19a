//! lowbit in a browser. The page (`www/`) calls these functions; each returns numbers or JSON, or throws an error.
//!
//! Nothing blocks: a page's event loop must turn. What a native program does by `run_blocking` is `run(…).await` here.

#[cfg(feature = "lab")]
#[path = "../../conformance/array.rs"]
mod array;
#[cfg(feature = "lab")]
#[path = "../../conformance/blocks.rs"]
mod blocks;
#[cfg(feature = "lab")]
#[path = "../../conformance/case.rs"]
mod case;
#[cfg(feature = "lab")]
#[path = "../../conformance/compare.rs"]
mod compare;
#[cfg(feature = "lab")]
mod device;
#[cfg(feature = "lab")]
#[path = "../../conformance/gguf.rs"]
mod gguf;
#[cfg(feature = "lab")]
mod lab;
#[cfg(feature = "lab")]
#[path = "../../conformance/matmul_nbits.rs"]
mod matmul_nbits;
#[cfg(feature = "lab")]
#[allow(dead_code, reason = "the page has no data set")]
#[path = "../../digits/network.rs"]
mod network;
#[cfg(feature = "lab")]
#[path = "../../conformance/observer.rs"]
mod observer;
#[cfg(feature = "lab")]
#[path = "../../conformance/ops.rs"]
mod ops;
#[cfg(feature = "lab")]
mod packing;
#[cfg(feature = "lab")]
#[path = "../../conformance/qat.rs"]
mod qat;

use lowbit::ops::{Matmul, Op, Requantization};
use lowbit::{Context, DType, Quantization, Tensor};
use wasm_bindgen::prelude::{JsError, wasm_bindgen};

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// An error of Rust as an error of JavaScript, with its message.
fn told<T>(result: Result<T>) -> std::result::Result<T, JsError> {
    result.map_err(|error| JsError::new(&error.to_string()))
}

#[wasm_bindgen]
extern "C" {
    /// A panic leaves the module unusable, so the page says why.
    #[wasm_bindgen(js_namespace = console, js_name = error)]
    fn log_error(text: &str);
}

#[wasm_bindgen(start)]
fn start() {
    std::panic::set_hook(Box::new(|info| log_error(&info.to_string())));
}

/// A device of the browser.
#[wasm_bindgen]
pub struct Page {
    context: Context,
}

#[wasm_bindgen]
impl Page {
    /// Asks the browser for a device.
    pub async fn open() -> std::result::Result<Page, JsError> {
        Ok(Page { context: told(Context::new().await.map_err(Into::into))? })
    }

    /// The name of the adapter.
    pub fn description(&self) -> String {
        self.context.description()
    }

    /// The codes of the README's product, by the GPU.
    pub async fn product(&self) -> std::result::Result<Vec<u8>, JsError> {
        told(product(&self.context).await)
    }
}

#[cfg(feature = "lab")]
impl Page {
    pub(crate) fn context(&self) -> Context {
        self.context.clone()
    }
}

/// The README's layer and its input.
pub(crate) fn layer() -> Result<(Op, Tensor)> {
    let activations =
        Tensor::new([2, 4], vec![12u8, 0, 255, 7, 128, 128, 128, 128])?.quantized(Quantization::tensor(0.02, 128))?;
    let weights = Tensor::new([3, 4], vec![1i8, -2, 3, -4, 127, 0, 0, -127, 5, 6, 7, 8])?
        .quantized(Quantization::symmetric_axis(0, [0.01, 0.002, 0.03]))?;
    let layer = Matmul::new(activations.tensor_type().clone(), weights)
        .transposed()
        .bias(Tensor::new([3], vec![100i32, -50, 0])?)
        .output(Requantization::new(DType::Uint8, 0.05, 10)?.relu())
        .build()?;
    Ok((layer.into(), activations))
}

async fn product(context: &Context) -> Result<Vec<u8>> {
    let (layer, activations) = layer()?;
    Ok(context.run(&layer, &[&activations]).await?[0].values::<u8>()?.to_vec())
}
