// Times of ONNX Runtime Web and of lowbit, in turn in one page. "Host" is from numbers in memory to numbers in memory; "device" has the
// inputs and outputs in GPU buffers, and waits for the queue once after some runs.
import { bytes, described, log, placement, tensor } from "./shared.js";
import init, { Page } from "./lowbit/lowbit_beside_onnxruntime_web.js";

const SAMPLES = 5;
const SAMPLE_MS = 50;

const devices = [];
const { requestDevice } = GPUAdapter.prototype;
GPUAdapter.prototype.requestDevice = async function (...options) {
  const device = await requestDevice.apply(this, options);
  devices.push(device);
  return device;
};

const median = (numbers) => numbers.toSorted((a, b) => a - b)[numbers.length >> 1];

async function ms(work) {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/** Work to be timed: `run` any number of runs, and `end` what waits for them. */
async function ofSession({ file, feeds, provider, device }, ort) {
  const model = new Uint8Array(await (await fetch(file)).arrayBuffer());
  // Once with a log, for the placement of the nodes.
  log.length = 0;
  const first = await ort.InferenceSession.create(model, { executionProviders: [provider], logSeverityLevel: 0, logVerbosityLevel: 0 });
  const providers = placement();
  await first.release();
  const options = { executionProviders: [provider], logSeverityLevel: 3 };
  if (device) options.preferredOutputLocation = "gpu-buffer";
  const session = await ort.InferenceSession.create(model, options);
  const queue = device ? (await ort.env.webgpu.device).queue : null;
  const inputs = {};
  const buffers = [];
  for (const [name, feed] of Object.entries(feeds)) {
    if (device) {
      const raw = bytes(feed.data);
      const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
      const buffer = (await ort.env.webgpu.device).createBuffer({ size: Math.ceil(raw.length / 16) * 16, usage });
      queue.writeBuffer(buffer, 0, raw);
      buffers.push(buffer);
      inputs[name] = ort.Tensor.fromGpuBuffer(buffer, { dataType: feed.type, dims: feed.dims });
    } else {
      inputs[name] = tensor(ort, feed);
    }
  }
  return {
    providers,
    async answer() {
      const output = (await session.run(inputs))[session.outputNames[0]];
      return described(output, device ? await output.getData(true) : output.data);
    },
    async run(times) {
      for (let time = 0; time < times; time += 1) {
        const output = (await session.run(inputs))[session.outputNames[0]];
        if (device) output.dispose();
      }
      if (device) await queue.onSubmittedWorkDone();
    },
    async release() {
      await session.release();
      for (const buffer of buffers) buffer.destroy();
    },
  };
}

export async function times(ort, post) {
  const wasm = await import("./ort/ort.wasm.bundle.min.mjs");
  wasm.env.wasm.wasmPaths = ort.env.wasm.wasmPaths;
  wasm.env.wasm.numThreads = 1;
  await init();
  const page = await Page.open();
  const lowbitQueue = devices.at(-1).queue;
  const products = await (await fetch("models/index.json")).json();
  for (const [number, { file, models }] of products.entries()) {
    const prepared = await page.prepare(new Uint8Array(await (await fetch(file)).arrayBuffer()));
    const ways = [
      { label: "lowbit host", run: async (times) => { for (let time = 0; time < times; time += 1) await prepared.run(); } },
      { label: "lowbit device", run: async (times) => { for (let time = 0; time < times; time += 1) prepared.submit(); await lowbitQueue.onSubmittedWorkDone(); } },
    ];
    const result = { number, check: await prepared.check(), labels: prepared.labels(), answers: {}, providers: {}, errors: {}, ms: {} };
    for (const model of models) {
      try {
        const way = await ofSession(model, model.provider === "wasm" ? wasm : ort);
        ways.push({ label: model.label, ...way });
        result.answers[model.label] = await way.answer();
        result.providers[model.label] = way.providers;
      } catch (error) {
        result.errors[model.label] = String(error?.message ?? error);
      }
    }
    for (const way of ways) {
      await way.run(1);
      way.runs = Math.max(1, Math.min(200, Math.ceil(SAMPLE_MS / (await ms(() => way.run(1))))));
      way.samples = [];
    }
    for (let sample = 0; sample < SAMPLES; sample += 1) {
      for (const way of ways) way.samples.push((await ms(() => way.run(way.runs))) / way.runs);
    }
    for (const way of ways) {
      result.ms[way.label] = { median: median(way.samples), least: Math.min(...way.samples), most: Math.max(...way.samples), runs: way.runs };
      await way.release?.();
    }
    prepared.destroy();
    await post("result", JSON.stringify(result));
  }
  await post("adapter", page.description());
  await post("done", "");
}
