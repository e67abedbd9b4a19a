//! A plan of lowbit without lowbit: the digits' first layer is exported as data, read again, and run by plain wgpu. What `replay` does
//! needs only WebGPU, so any engine can do it: on another version of wgpu, on Dawn, in JavaScript (`examples/browser/www/replay.js`).

use std::error::Error;

use lowbit::ops::{Conv, Padding, Pool, Requantization};
use lowbit::{
    DType, DeviceLimits, ExportedBuffer, ExportedBytes, ExportedPlan, Graph, Quantization, Tensor, TensorType,
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let graph = network()?;
    // WebGPU's least limits and no optional features: for every device.
    let exported = graph.export(&DeviceLimits::default())?;
    let (json, data) = (serde_json::to_string(&exported)?, exported.data);
    println!(
        "{} launches of {} programs; {} bytes of JSON, {} of data",
        exported.launches.len(),
        exported.programs.len(),
        json.len(),
        data.len()
    );

    // From here on nothing of lowbit runs but its layout of tensors.
    let image = Tensor::new([1, 9, 9, 3], (0..243).map(|i| (i * 7 % 251) as u8).collect::<Vec<_>>())?
        .quantized(Quantization::tensor(0.02, 128))?;
    let exported: ExportedPlan = serde_json::from_str(&json)?;
    let got = replay(&exported, &data, &[lowbit::pack::words(&image)])?;
    let expected = graph.run_reference(&[&image])?;
    for ((got, expected), described) in got.iter().zip(&expected).zip(&exported.outputs) {
        let words = lowbit::pack::words(expected);
        println!(
            "{} {:?}: {}",
            described.dtype,
            described.dims,
            if got[..words.len()] == words { "equal bits" } else { "DIFFERS" }
        );
        if got[..words.len()] != words {
            return Err("the replayed plan differs from the reference".into());
        }
    }
    Ok(())
}

/// Two convolutions and a pool.
fn network() -> Result<Graph> {
    let image = TensorType::new(DType::Uint8, [1, 9, 9, 3])?.quantized(Quantization::tensor(0.02, 128))?;
    let mut graph = Graph::new();
    let mut value = graph.input(image);
    for (inputs, outputs) in [(3, 8), (8, 16)] {
        let weights = (0..outputs * 9 * inputs).map(|i| (i * 11 % 127) as i8 - 63).collect::<Vec<_>>();
        let weights = Tensor::new([outputs, 3, 3, inputs], weights)?.quantized(Quantization::tensor(0.01, 0))?;
        let stage = Requantization::new(DType::Uint8, 0.1, 120)?;
        let conv = Conv::new(graph.tensor_type(value)?.clone(), weights).padding(Padding::SameUpper).output(stage);
        value = graph.add(conv.build()?, &[value])?;
    }
    let pool = Pool::max(graph.tensor_type(value)?.clone(), [3, 3]).stride([3, 3]).build()?;
    let value = graph.add(pool, &[value])?;
    graph.output(value);
    Ok(graph)
}

/// A device as every browser has it.
fn plain_device() -> Result<(wgpu::Device, wgpu::Queue)> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let adapter = pollster::block_on(instance.request_adapter(&Default::default()))?;
    Ok(pollster::block_on(adapter.request_device(&Default::default()))?)
}

/// Runs an exported plan on a device of its own, and returns the words of its outputs.
fn replay(plan: &ExportedPlan, data: &[u8], inputs: &[Vec<u32>]) -> Result<Vec<Vec<u32>>> {
    let (device, queue) = plain_device()?;
    use wgpu::BufferUsages as Usages;
    let buffer = |size: u64, usage: Usages| {
        device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
    };
    let filled = |contents: &[u8], usage: Usages| {
        let buffer = buffer(contents.len() as u64, usage | Usages::COPY_DST);
        queue.write_buffer(&buffer, 0, contents);
        buffer
    };
    let part = |ExportedBytes { offset, bytes, .. }: ExportedBytes| &data[offset..offset + bytes];

    let tensors = |sizes: Vec<u64>| -> Vec<wgpu::Buffer> {
        let usage = Usages::STORAGE | Usages::COPY_DST | Usages::COPY_SRC;
        sizes.into_iter().map(|size| buffer(size, usage)).collect()
    };
    let ins = tensors(plan.inputs.iter().map(|tensor| tensor.bytes).collect());
    let outs = tensors(plan.outputs.iter().map(|tensor| tensor.bytes).collect());
    let workspace = tensors(plan.workspace.clone());
    let constants: Vec<_> = plan.constants.iter().map(|&constant| filled(part(constant), Usages::STORAGE)).collect();
    for (buffer, words) in ins.iter().zip(inputs) {
        queue.write_buffer(buffer, 0, bytemuck::cast_slice(words));
    }
    let pipelines = plan.launches.iter().map(|launch| {
        let source = wgpu::ShaderSource::Wgsl(plan.programs[launch.program].as_str().into());
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
        device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&launch.label),
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: Default::default(),
            cache: None,
        })
    });
    let pipelines: Vec<_> = pipelines.collect();

    let mut encoder = device.create_command_encoder(&Default::default());
    let mut pass = encoder.begin_compute_pass(&Default::default());
    for (launch, pipeline) in plan.launches.iter().zip(&pipelines) {
        let parameters = filled(part(launch.parameters), Usages::UNIFORM);
        let mut entries = vec![wgpu::BindGroupEntry { binding: 0, resource: parameters.as_entire_binding() }];
        for binding in &launch.bindings {
            let buffer = match binding.buffer {
                ExportedBuffer::Input(i) => &ins[i],
                ExportedBuffer::Output(i) => &outs[i],
                ExportedBuffer::Workspace(i) => &workspace[i],
                ExportedBuffer::Constant(i) => &constants[i],
                _ => return Err("a buffer of a kind that this program doesn't know".into()),
            };
            let (offset, size) = (binding.offset, wgpu::BufferSize::new(binding.bytes));
            let resource = wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer, offset, size });
            entries.push(wgpu::BindGroupEntry { binding: binding.slot, resource });
        }
        let layout = pipeline.get_bind_group_layout(0);
        let group =
            device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout: &layout, entries: &entries });
        pass.set_pipeline(pipeline);
        pass.set_bind_group(0, &group, &[]);
        let [x, y, z] = launch.grid;
        pass.dispatch_workgroups(x, y, z);
    }
    drop(pass);
    let staging: Vec<_> = outs.iter().map(|out| buffer(out.size(), Usages::MAP_READ | Usages::COPY_DST)).collect();
    for (out, staging) in outs.iter().zip(&staging) {
        encoder.copy_buffer_to_buffer(out, 0, staging, 0, None);
        encoder.map_buffer_on_submit(staging, wgpu::MapMode::Read, .., |_| {});
    }
    queue.submit([encoder.finish()]);
    device.poll(wgpu::PollType::wait_indefinitely())?;
    let words = staging.iter().map(|staging| Ok(bytemuck::pod_collect_to_vec(&staging.get_mapped_range(..)?)));
    words.collect()
}
