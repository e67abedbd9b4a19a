// Runs ONNX models by ONNX Runtime Web on WebGPU, and posts their outputs and the provider of each node. A session that failed leaves
// shaders behind, which others would get, so the page ends before the first model after one that doesn't fail too; `?first=N` starts there.
// `?times` takes times (times.js), `?lowbit` runs the cases by lowbit.
import { described, log, placement, tensor } from "./shared.js";

const query = new URLSearchParams(location.search);
const post = (kind, text) => fetch("/event", { method: "POST", body: JSON.stringify({ kind, text }) });

async function run(ort, { file, feeds, fallback }) {
  log.length = 0;
  const options = { executionProviders: ["webgpu"], logSeverityLevel: 0, logVerbosityLevel: 0 };
  if (!fallback) options.extra = { session: { disable_cpu_ep_fallback: "1" } };
  const session = await ort.InferenceSession.create(new Uint8Array(await (await fetch(file)).arrayBuffer()), options);
  const providers = placement();
  const inputs = Object.fromEntries(Object.entries(feeds).map(([name, feed]) => [name, tensor(ort, feed)]));
  const outputs = await session.run(inputs);
  const list = session.outputNames.map((name) => described(outputs[name], outputs[name].data));
  await session.release();
  return { providers, outputs: list };
}

async function all(ort) {
  const models = await (await fetch("models/index.json")).json();
  let failed = false;
  for (let number = Number(query.get("first") ?? 0); number < models.length; number += 1) {
    let result;
    try {
      result = await run(ort, models[number]);
    } catch (error) {
      result = { error: String(error?.message ?? error) };
    }
    if (failed && !result.error) break;
    failed ||= Boolean(result.error);
    if (query.has("log")) result.log = [...log];
    await post("result", JSON.stringify({ number, ...result }));
    if (/abort|RuntimeError|unreachable/i.test(result.error ?? "")) break;
  }
  await post("done", "");
}

/** The cases by lowbit: an empty text if it is right. */
async function byLowbit() {
  const { default: init, Page } = await import("./lowbit/lowbit_beside_onnxruntime_web.js");
  await init();
  const page = await Page.open();
  for (const [number, name] of (await (await fetch("models/cases.json")).json()).entries()) {
    let check;
    try {
      const prepared = await page.prepare(new Uint8Array(await (await fetch(`/case/${name}`)).arrayBuffer()));
      check = await prepared.check();
      prepared.destroy();
    } catch (error) {
      check = String(error?.message ?? error);
    }
    await post("result", JSON.stringify({ number, check }));
  }
  await post("done", "");
}

async function byOrt() {
  const ort = await import(`./ort/${query.get("build") ?? "ort.webgpu.bundle.min.mjs"}`);
  ort.env.wasm.wasmPaths = new URL("ort/", location.href).href;
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = query.has("times") ? "error" : "verbose";
  if (query.has("times")) await (await import("./times.js")).times(ort, post);
  else await all(ort);
}

try {
  await (query.has("lowbit") ? byLowbit() : byOrt());
} catch (error) {
  await post("failure", String(error?.stack ?? error));
  await post("done", "");
}
