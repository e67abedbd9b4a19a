//! The network and its three passes: texture to codes, codes to codes, codes to texture.

use bevy::prelude::Resource;
use lowbit::ops::{Conv, Padding, Requantization};
use lowbit::{Bindings, Context, DType, DeviceTensor, Graph, Plan, Quantization, Tensor, TensorType, Tuner, wgpu};

/// Colours of a pixel that the network reads and writes; the fourth is opacity.
pub const CHANNELS: usize = 3;

/// In device memory the codes of a pixel are a row, and a row of 8-bit codes takes 16 bytes.
const LOAD: &str = "
    @group(0) @binding(0) var picture: texture_2d<f32>;
    @group(0) @binding(1) var<storage, read_write> codes: array<vec4<u32>>;

    @compute @workgroup_size(8, 8)
    fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        let size = textureDimensions(picture);
        if all(id.xy < size) {
            let colours = textureLoad(picture, id.xy, 0).rgb;
            codes[id.y * size.x + id.x] = vec4(pack4x8unorm(vec4(colours, 0.0)), 0u, 0u, 0u);
        }
    }";

const STORE: &str = "
    @group(0) @binding(0) var picture: texture_storage_2d<rgba8unorm, write>;
    @group(0) @binding(1) var<storage, read> codes: array<vec4<u32>>;

    @compute @workgroup_size(8, 8)
    fn main(@builtin(global_invocation_id) id: vec3<u32>) {
        let size = textureDimensions(picture);
        if all(id.xy < size) {
            let colours = unpack4x8unorm(codes[id.y * size.x + id.x].x).rgb;
            textureStore(picture, id.xy, vec4(colours, 1.0));
        }
    }";

/// Edges: slopes of the brightness in four directions, then their sum in each colour.
fn graph([width, height]: [usize; 2]) -> lowbit::Result<Graph> {
    /// Shares of red, green and blue in brightness, in eighths.
    const SHARES: [i8; CHANNELS] = [2, 5, 1];
    const SLOPE: [[i8; 3]; 3] = [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]];
    let unit = Quantization::tensor(1.0, 0);
    let codes = TensorType::new(DType::Uint8, [1, height, width, CHANNELS])?.quantized(unit.clone())?;

    let slope = |direction: usize, y: usize, x: usize| match direction {
        0 => SLOPE[y][x],
        1 => -SLOPE[y][x],
        2 => SLOPE[x][y],
        _ => -SLOPE[x][y],
    };
    let taps = (0..4).flat_map(|direction| (0..9).map(move |tap| (direction, tap / 3, tap % 3)));
    let slopes: Vec<i8> =
        taps.flat_map(|(direction, y, x)| SHARES.map(|share| share * slope(direction, y, x))).collect();
    let slopes = Tensor::new([4, 3, 3, CHANNELS], slopes)?.quantized(unit.clone())?;
    let sums = Tensor::new([CHANNELS, 1, 1, 4], vec![1i8; CHANNELS * 4])?.quantized(unit)?;

    let mut graph = Graph::new();
    let x = graph.input(codes);
    // The steepest slope, 8 · 4 · 255, is code 255. What falls becomes 0.
    let slopes = Conv::new(graph.tensor_type(x)?.clone(), slopes)
        .padding(Padding::SameUpper)
        .output(Requantization::new(DType::Uint8, 32.0, 0)?);
    let y = graph.add(slopes.build()?, &[x])?;
    let sums = Conv::new(graph.tensor_type(y)?.clone(), sums).output(Requantization::new(DType::Uint8, 16.0, 0)?);
    let y = graph.add(sums.build()?, &[y])?;
    graph.output(y);
    Ok(graph)
}

/// A shader between a texture and codes.
struct Shader {
    pipeline: wgpu::ComputePipeline,
    codes: wgpu::Buffer,
}

impl Shader {
    fn new(device: &wgpu::Device, source: &str, codes: &DeviceTensor) -> Self {
        let source = wgpu::ShaderSource::Wgsl(source.into());
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
        let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: Default::default(),
            cache: None,
        });
        Self { pipeline, codes: codes.buffer().clone() }
    }

    fn dispatch(
        &self,
        device: &wgpu::Device,
        pass: &mut wgpu::ComputePass<'_>,
        picture: &wgpu::TextureView,
        [width, height]: [usize; 2],
    ) {
        // Bevy may have made the texture anew, so the bind group is of this frame.
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &self.pipeline.get_bind_group_layout(0),
            entries: &[
                wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::TextureView(picture) },
                wgpu::BindGroupEntry { binding: 1, resource: self.codes.as_entire_binding() },
            ],
        });
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &group, &[]);
        pass.dispatch_workgroups(width.div_ceil(8) as u32, height.div_ceil(8) as u32, 1);
    }
}

/// The network on Bevy's device, bound to its codes.
#[derive(Resource)]
pub struct Edges {
    context: Context,
    size: [usize; 2],
    plan: Plan,
    bindings: Bindings,
    load: Shader,
    store: Shader,
}

impl Edges {
    /// Plans, compiles and binds for pictures of this width and height.
    pub fn new(device: wgpu::Device, queue: wgpu::Queue, size: [usize; 2]) -> lowbit::Result<Self> {
        let context = Context::from_device(device.clone(), queue);
        let plan = context.plan(&graph(size)?, Tuner::FirstGuess)?;
        pollster::block_on(plan.warm_up())?;
        let x = DeviceTensor::allocate(&context, plan.input_types()[0].clone())?;
        let y = DeviceTensor::allocate(&context, plan.output_types()[0].clone())?;
        let bindings = plan.bind(&[&x], &[&y])?;
        let (load, store) = (Shader::new(&device, LOAD, &x), Shader::new(&device, STORE, &y));
        Ok(Self { context, size, plan, bindings, load, store })
    }

    pub fn description(&self) -> String {
        self.context.description().to_string()
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Records all of it into one pass.
    pub fn record(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        before: &wgpu::TextureView,
        after: &wgpu::TextureView,
    ) -> lowbit::Result<()> {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        self.load.dispatch(self.context.device(), &mut pass, before, self.size);
        self.plan.record_in(&mut pass, &self.bindings)?;
        self.store.dispatch(self.context.device(), &mut pass, after, self.size);
        Ok(())
    }

    /// The picture that has to come of this one, by the CPU reference.
    pub fn reference(&self, rgba: &[u8]) -> lowbit::Result<Vec<u8>> {
        let [width, height] = self.size;
        let colours: Vec<u8> = rgba.chunks_exact(4).flat_map(|pixel| pixel[..CHANNELS].to_vec()).collect();
        let x = Tensor::new([1, height, width, CHANNELS], colours)?.quantized(Quantization::tensor(1.0, 0))?;
        let y = self.plan.graph().run_reference(&[&x])?.remove(0);
        let opaque = |pixel: &[u8]| pixel.iter().copied().chain([255]).collect::<Vec<_>>();
        Ok(y.values::<u8>()?.chunks_exact(CHANNELS).flat_map(opaque).collect())
    }
}
