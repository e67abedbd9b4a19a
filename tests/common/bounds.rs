//! Bounds checks of every access to storage and workgroup memory in every launch of a candidate. Buffers have exactly the sizes
//! that a plan gives them. Kernels run without the driver's bounds checks, so each index must be in bounds by itself. Other tests
//! compare values.

use std::cell::RefCell;
use std::collections::HashMap;

use lowbit::kernels::{Candidate, Constant, Dispatch, Resource};
use lowbit::ops::Op;
use lowbit::{Context, DType, DeviceTensor, Tensor, TensorType};

use super::POISON;

/// Binding of the report of instrumented shaders: by slot, the number of elements that an access was beyond the end.
const REPORT: u32 = 15;

/// First slot of the report for workgroup arrays, in the order of their declarations. Smaller slots are bindings.
const FIRST_WORKGROUP: usize = 8;

/// Outputs of a candidate with every access checked. Outputs hold poison before. Panics if a launch reads or writes beyond an
/// array. Every program is compiled a second time. `None` if a plan would divide the op, or if the report needs a binding more than
/// the device has.
pub(crate) fn run_checked(
    context: &Context,
    name: &str,
    op: &Op,
    inputs: &[&Tensor],
    candidate: &Candidate,
) -> Option<Vec<Tensor>> {
    let bindings = candidate.dispatches.iter().map(|dispatch| dispatch.bindings.len()).max().unwrap_or(0);
    let largest = op.inputs().iter().chain(&op.outputs()).map(TensorType::device_bytes).max().unwrap_or(0);
    if bindings as u32 >= context.caps().storage_buffers || largest > context.caps().binding_bytes {
        return None;
    }
    let inputs: Vec<_> = inputs.iter().map(|t| buffer(context, &super::poisoned_words(t))).collect();
    let poison = |t: &TensorType| buffer(context, &vec![POISON; t.device_bytes() as usize / 4]);
    let outputs: Vec<_> = op.outputs().iter().map(poison).collect();
    let words = |constant: &Constant| {
        let words = constant.words().expect("held words");
        assert_eq!(constant.count(), words.len() as u64, "{name}: {constant:?}");
        buffer(context, &words)
    };
    let constants: Vec<_> = candidate.constants.iter().map(words).collect();
    let scratch: Vec<_> = candidate.scratch.iter().map(|&words| buffer(context, &vec![POISON; words])).collect();
    let report = buffer(context, &[0; 16]);
    let place = |resource| match resource {
        Resource::Input(i) => &inputs[i],
        Resource::Output(i) => &outputs[i],
        Resource::Constant(i) => &constants[i],
        Resource::Scratch(i) => &scratch[i],
    };
    let mut encoder = context.device().create_command_encoder(&Default::default());
    for dispatch in &candidate.dispatches {
        record(context, &mut encoder, dispatch, &report, place);
    }
    context.queue().submit([encoder.finish()]);
    let read = |tensor_type: TensorType, buffer: wgpu::Buffer| {
        let tensor = DeviceTensor::from_buffer(tensor_type, buffer, 0).expect("a sound buffer");
        context.download_blocking(&tensor).expect("the device works")
    };
    let report = read(TensorType::new(DType::Int32, [16]).expect("a small type"), report);
    let report = report.values::<i32>().expect("int32");
    if let Some(slot) = report.iter().position(|&beyond| beyond != 0) {
        let place = match slot.checked_sub(FIRST_WORKGROUP) {
            Some(array) => format!("array {array} in workgroup memory"),
            None => format!("binding {slot}"),
        };
        panic!("{name}, {}: {place} is used {} elements beyond its end", candidate.label, report[slot]);
    }
    Some(op.outputs().into_iter().zip(outputs).map(|(tensor_type, buffer)| read(tensor_type, buffer)).collect())
}

fn record<'a>(
    context: &Context,
    encoder: &mut wgpu::CommandEncoder,
    dispatch: &Dispatch,
    report: &wgpu::Buffer,
    place: impl Fn(Resource) -> &'a wgpu::Buffer,
) {
    let device = context.device();
    let pipeline = pipeline(device, dispatch);
    let parameters: Vec<u32> =
        dispatch.parameters.chunks_exact(4).map(|b| u32::from_ne_bytes([b[0], b[1], b[2], b[3]])).collect();
    let parameters = buffer(context, &parameters);
    let fixed = [(0, &parameters), (REPORT, report)];
    let bound = dispatch.bindings.iter().map(|binding| (binding.slot, place(binding.resource)));
    let entries: Vec<_> = fixed
        .into_iter()
        .chain(bound)
        .map(|(binding, buffer)| wgpu::BindGroupEntry { binding, resource: buffer.as_entire_binding() })
        .collect();
    let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: None,
        layout: &pipeline.get_bind_group_layout(0),
        entries: &entries,
    });
    let mut pass = encoder.begin_compute_pass(&Default::default());
    pass.set_pipeline(&pipeline);
    pass.set_bind_group(0, &group, &[]);
    let [x, y, z] = dispatch.grid;
    pass.dispatch_workgroups(x, y, z);
}

/// The instrumented pipeline of a dispatch, compiled once per thread, device and program.
fn pipeline(device: &wgpu::Device, dispatch: &Dispatch) -> wgpu::ComputePipeline {
    type Compiled = HashMap<(wgpu::Device, String), wgpu::ComputePipeline>;
    thread_local!(static COMPILED: RefCell<Compiled> = RefCell::default());
    let key = (device.clone(), dispatch.program.name());
    if let Some(pipeline) = COMPILED.with_borrow(|compiled| compiled.get(&key).cloned()) {
        return pipeline;
    }
    let source = instrumented(&dispatch.program.source());
    let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
        label: Some(&dispatch.label),
        source: wgpu::ShaderSource::Wgsl(source.into()),
    });
    let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
        label: Some(&dispatch.label),
        layout: None,
        module: &module,
        entry_point: Some("main"),
        compilation_options: Default::default(),
        cache: None,
    });
    COMPILED.with_borrow_mut(|compiled| compiled.insert(key, pipeline.clone()));
    pipeline
}

/// A buffer with these words, at least 16 bytes long like all buffers.
fn buffer(context: &Context, words: &[u32]) -> wgpu::Buffer {
    let buffer = context.device().create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: (words.len() as u64 * 4).max(16),
        usage: wgpu::BufferUsages::STORAGE
            | wgpu::BufferUsages::UNIFORM
            | wgpu::BufferUsages::COPY_SRC
            | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    context.queue().write_buffer(&buffer, 0, bytemuck::cast_slice(words));
    buffer
}

/// Indexed arrays of a program: name, length in WGSL, slot in the report.
fn arrays(code: &str) -> Vec<(String, String, usize)> {
    let mut workgroup = FIRST_WORKGROUP..REPORT as usize;
    let array = |line: &str| -> (String, String) {
        let (name, kind) = line[line.find('>').expect("an address space") + 1..].split_once(':').expect("a type");
        let name = name.trim().to_string();
        let kind = &kind[kind.find('<').expect("an array") + 1..kind.rfind('>').expect("an array")];
        // The length follows the last comma, unless that comma is part of the element's type.
        let fixed = kind.rsplit_once(',').filter(|(_, length)| !length.contains('>')).map(|(_, length)| length.trim());
        (name.clone(), fixed.map_or_else(|| format!("arrayLength(&{name})"), |length| format!("u32({length})")))
    };
    let declarations = code.lines().filter(|line| line.contains("array<"));
    declarations
        .filter_map(|line| {
            let slot = if line.contains("var<storage") {
                let number = &line[line.find("@binding(").expect("a binding") + "@binding(".len()..];
                number[..number.find(')').expect("a binding")].parse().expect("a number")
            } else if line.contains("var<workgroup>") {
                workgroup.next().expect("few arrays")
            } else {
                return None;
            };
            let (name, length) = array(line);
            Some((name, length, slot))
        })
        .collect()
}

/// The program with each `array[index]` as `array[checked_index(index, length, slot)]`.
fn instrumented(source: &str) -> String {
    let mut code: String =
        source.lines().map(|line| line.split("//").next().unwrap_or("").to_string() + "\n").collect();
    for (name, length, slot) in &arrays(&code) {
        let mut from = 0;
        while let Some(found) = code[from..].find(&format!("{name}[")) {
            let start = from + found;
            let open = start + name.len();
            from = open + 1;
            if code[..start].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '.') {
                continue;
            }
            let mut depth = 0;
            let inside = code[open..].find(|c| {
                depth += i32::from(c == '[') - i32::from(c == ']');
                depth == 0
            });
            let close = open + inside.expect("balanced brackets");
            code.replace_range(close..close, &format!("), {length}, {slot}u)"));
            code.replace_range(open + 1..open + 1, "checked_index(u32(");
        }
    }
    code + "
@group(0) @binding(15) var<storage, read_write> beyond: array<atomic<u32>, 16>;
fn checked_index(index: u32, length: u32, slot: u32) -> u32 {
    if (index >= length) {
        atomicMax(&beyond[slot], index - length + 1u);
    }
    return min(index, length - 1u);
}
"
}
