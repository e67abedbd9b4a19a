//! Plans of lowbit on tensors of Burn, in Burn's device, queue and buffers.
//!
//! CubeCL, Burn's runtime, gives the wgpu buffer of a tensor and the tensor's offset in it. lowbit reads and writes there. The
//! order of work is the order of submissions to the one queue: what Burn has recorded is submitted, then the plan, then what Burn
//! records next.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::Wgpu;
use burn::tensor::wgpu::WgpuSetup;
use burn::tensor::{DType, Tensor};
use burn_cubecl::CubeBackend;
use burn_cubecl::cubecl::wgpu::{AutoCompiler, WgpuResource, WgpuServer};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use lowbit::{Bindings, Context, DeviceTensor, Graph, Plan, TensorType, Tuner, wgpu};

pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Bindings that a layer keeps: sets of buffers that Burn gives in turn.
const MOST_BINDINGS: usize = 16;

/// lowbit on Burn's device. Clones share all of it.
#[derive(Clone)]
pub struct Bridge {
    context: Context,
    copies: Arc<AtomicUsize>,
}

impl Bridge {
    /// Shares Burn's device and queue. lowbit needs no feature and no limit beyond those that Burn asks for.
    pub fn new(setup: &WgpuSetup) -> Result<Self> {
        let context = Context::from_device(setup.device.clone(), setup.queue.clone());
        let context = pollster::block_on(context.tested())?;
        Ok(Self { context, copies: Arc::default() })
    }

    pub fn context(&self) -> &Context {
        &self.context
    }

    /// Tensors that were copied so far, because they could not be bound where Burn put them.
    pub fn copies(&self) -> usize {
        self.copies.load(Ordering::Relaxed)
    }
}

/// A layer from float32 `[rows, k]` to float32 `[rows, n]`, for any number of rows up to a most.
pub struct Layer {
    bridge: Bridge,
    plan: Plan,
    columns: usize,
    bound: Mutex<Vec<Bound>>,
}

/// The place of a tensor of Burn.
#[derive(Clone, PartialEq)]
struct Place {
    buffer: wgpu::Buffer,
    offset: u64,
}

/// A plan bound to two places, with the copies that it needs.
struct Bound {
    rows: usize,
    places: [Place; 2],
    bindings: Bindings,
    /// Own memory for the input, which is filled before the plan.
    input: Option<DeviceTensor>,
    /// Own memory for the output, which is copied to its place after the plan.
    output: Option<DeviceTensor>,
}

impl Layer {
    /// Plans a graph of one float32 matrix to one float32 matrix. Its input is dynamic.
    pub fn new(bridge: &Bridge, graph: &Graph) -> Result<Self> {
        let plan = bridge.context.plan(graph, Tuner::FirstGuess)?;
        pollster::block_on(plan.warm_up())?;
        let columns = plan.output_types().first().and_then(|t| t.dims().last()).copied().unwrap_or(0);
        Ok(Self { bridge: bridge.clone(), plan, columns, bound: Mutex::default() })
    }

    /// The layer of `x`, as a tensor of Burn.
    pub fn forward(&self, x: Tensor<2>) -> Result<Tensor<2>> {
        let [rows, width] = x.dims();
        let y = Tensor::<2>::empty([rows, self.columns], &x.device());
        // A row of float32 is dense in both libraries, so a contiguous tensor of Burn is one of lowbit.
        let (source, target) = (into_contiguous(cube(x)?), cube(y.clone())?);
        let places = [place(&source)?, place(&target)?];
        // Burn's launches so far go to the queue.
        source.client.flush().map_err(|error| format!("Burn's work was not submitted: {error}"))?;

        let types = [TensorType::float32([rows, width])?, TensorType::float32([rows, self.columns])?];
        let context = &self.bridge.context;
        let mut encoder = context.device().create_command_encoder(&Default::default());
        self.record(&mut encoder, rows, types, places)?;
        context.queue().submit([encoder.finish()]);
        Ok(y)
    }

    /// Records the plan for tensors at these places. Burn's allocator gives the same places again and again, so their bind groups
    /// are kept.
    fn record(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        rows: usize,
        types: [TensorType; 2],
        places: [Place; 2],
    ) -> Result<()> {
        let mut bound = self.bound.lock().unwrap_or_else(PoisonError::into_inner);
        let index = match bound.iter().position(|b| b.rows == rows && b.places == places) {
            Some(index) => index,
            None => {
                if bound.len() >= MOST_BINDINGS {
                    bound.remove(0);
                }
                bound.push(self.bind(rows, types, places)?);
                bound.len() - 1
            }
        };
        let Bound { places: [source, target], bindings, input, output, .. } = &bound[index];
        let bytes = |tensor: &DeviceTensor| Some(tensor.tensor_type().device_bytes());
        if let Some(own) = input {
            encoder.copy_buffer_to_buffer(&source.buffer, source.offset, own.buffer(), 0, bytes(own));
        }
        self.plan.record(encoder, bindings)?;
        if let Some(own) = output {
            encoder.copy_buffer_to_buffer(own.buffer(), 0, &target.buffer, target.offset, bytes(own));
        }
        let copies = usize::from(input.is_some()) + usize::from(output.is_some());
        self.bridge.copies.fetch_add(copies, Ordering::Relaxed);
        Ok(())
    }

    fn bind(&self, rows: usize, types: [TensorType; 2], places: [Place; 2]) -> Result<Bound> {
        let context = &self.bridge.context;
        let [input_type, output_type] = types;
        let own = |what: &str, why: &str, tensor_type: &TensorType| {
            if self.bridge.copies() == 0 {
                eprintln!("note: {what} {tensor_type} is copied, and others may be: {why}");
            }
            DeviceTensor::allocate(context, tensor_type.clone())
        };
        let alignment = u64::from(context.device().limits().min_storage_buffer_offset_alignment);
        let aligned = |place: &Place| place.offset.is_multiple_of(alignment);
        let [source, target] = &places;
        let input = match aligned(source) {
            false => Some(own("the input", "its offset is not aligned", &input_type)?),
            true => None,
        };
        let output = match aligned(target) {
            false => Some(own("the output", "its offset is not aligned", &output_type)?),
            true => None,
        };
        let tensor = |own: &Option<DeviceTensor>, place: &Place, tensor_type: TensorType| match own {
            Some(own) => Ok(own.clone()),
            None => DeviceTensor::from_buffer(tensor_type, place.buffer.clone(), place.offset),
        };
        let (x, y) = (tensor(&input, source, input_type)?, tensor(&output, target, output_type)?);
        let bindings = self.plan.bind(&[&x], &[&y])?;
        Ok(Bound { rows, places, bindings, input, output })
    }
}

/// The tensor of CubeCL behind a tensor of Burn. What Burn has fused but not launched yet is launched.
fn cube(tensor: Tensor<2>) -> Result<CubeTensor> {
    let fused =
        tensor.try_into_primitive::<Wgpu>().map_err(|error| format!("not a tensor of Burn's wgpu: {error:?}"))?;
    let client = fused.client.clone();
    let cube = client.resolve_tensor_float::<CubeBackend>(fused);
    match cube.dtype {
        DType::F32 => Ok(cube),
        other => Err(format!("the tensor is {other:?}, but the layer takes F32").into()),
    }
}

/// The buffer of a tensor and its offset. CubeCL gives the memory to nobody else while the tensor lives.
fn place(tensor: &CubeTensor) -> Result<Place> {
    let found = tensor.client.get_resource::<WgpuServer<AutoCompiler>>(tensor.handle.clone());
    let found = found.map_err(|error| format!("no buffer behind the tensor: {error}"))?;
    let WgpuResource { buffer, offset, .. } = found.resource().clone();
    Ok(Place { buffer, offset })
}
