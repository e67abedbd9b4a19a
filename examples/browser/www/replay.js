// Runs a plan that lowbit exported, with nothing but WebGPU: `plan` is its JSON, `data` its bytes, `inputs` one Uint8Array for each input.
// Returns a Uint8Array for each output.
export async function replay(device, plan, data, inputs) {
  const { STORAGE, UNIFORM, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
  const buffers = [];
  const buffer = (size, usage) => {
    buffers.push(device.createBuffer({ size, usage }));
    return buffers.at(-1);
  };
  const filled = (contents, usage) => {
    const made = buffer(contents.length, usage | COPY_DST);
    device.queue.writeBuffer(made, 0, contents);
    return made;
  };
  const part = ({ offset, bytes }) => data.subarray(offset, offset + bytes);
  const usage = STORAGE | COPY_SRC | COPY_DST;
  const of = {
    input: plan.inputs.map(({ bytes }) => buffer(bytes, usage)),
    output: plan.outputs.map(({ bytes }) => buffer(bytes, usage)),
    workspace: plan.workspace.map((bytes) => buffer(bytes, usage)),
    constant: plan.constants.map((constant) => filled(part(constant), STORAGE)),
  };
  of.input.forEach((target, i) => device.queue.writeBuffer(target, 0, inputs[i]));

  const modules = plan.programs.map((code) => device.createShaderModule({ code }));
  const pipelines = await Promise.all(
    plan.launches.map(({ program, label }) =>
      device.createComputePipelineAsync({ label, layout: "auto", compute: { module: modules[program], entryPoint: "main" } }),
    ),
  );
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  plan.launches.forEach((launch, i) => {
    const entries = launch.bindings.map(({ slot, buffer: place, offset, bytes }) => {
      const [[kind, index]] = Object.entries(place);
      return { binding: slot, resource: { buffer: of[kind][index], offset, size: bytes } };
    });
    entries.push({ binding: 0, resource: { buffer: filled(part(launch.parameters), UNIFORM) } });
    pass.setPipeline(pipelines[i]);
    pass.setBindGroup(0, device.createBindGroup({ layout: pipelines[i].getBindGroupLayout(0), entries }));
    pass.dispatchWorkgroups(...launch.grid);
  });
  pass.end();
  const staging = of.output.map((output) => {
    const target = buffer(output.size, MAP_READ | COPY_DST);
    encoder.copyBufferToBuffer(output, 0, target, 0, output.size);
    return target;
  });
  device.queue.submit([encoder.finish()]);
  const outputs = [];
  for (const target of staging) {
    await target.mapAsync(GPUMapMode.READ);
    outputs.push(new Uint8Array(target.getMappedRange()).slice());
  }
  buffers.forEach((made) => made.destroy());
  return outputs;
}
