// Runs the tests from number `first` on whose names contain `names`, and reports each. A test that panics leaves the module unusable:
// the page loads again and goes on with the next one.
import init, * as page from "./pkg/lowbit_browser_tests.js";
import { parameter, report } from "./report.js";

// Buffers that were made and not destroyed.
globalThis.buffersAlive = 0;
const { createBuffer } = GPUDevice.prototype;
GPUDevice.prototype.createBuffer = function (descriptor) {
  globalThis.buffersAlive += 1;
  return createBuffer.call(this, descriptor);
};
const { destroy } = GPUBuffer.prototype;
const destroyed = new WeakSet();
GPUBuffer.prototype.destroy = function () {
  if (!destroyed.has(this)) {
    destroyed.add(this);
    globalThis.buffersAlive -= 1;
  }
  return destroy.call(this);
};

const exports = await init();
const run = WebAssembly.promising(exports.run_test);
const wanted = (parameter("names") ?? "").split(",");
const limit = Number(parameter("seconds") ?? Infinity) * 1000;

async function cases() {
  const names = await (await fetch("/cases")).json();
  for (const name of names) {
    const file = await (await fetch(`/case/${name}`)).arrayBuffer();
    page.provide(name, new Uint8Array(file));
  }
  const start = performance.now();
  const failures = await WebAssembly.promising(exports.run_cases)();
  report("cases", JSON.stringify({ cases: names.length, failures, ms: performance.now() - start }));
}

/** Words of weights that a Worker imported. */
function imported() {
  const worker = new Worker("worker.js", { type: "module" });
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = (event) => reject(new Error(`the Worker failed: ${event.message}`));
  });
}

async function tests() {
  const names = page.names().split("\n");
  page.provide_words(await imported());
  for (let number = Number(parameter("first") ?? 0); number < names.length; number += 1) {
    const name = names[number];
    if (!wanted.some((part) => name.includes(part))) continue;
    if (Date.now() - Number(parameter("began")) > limit) {
      report("left out", name);
      continue;
    }
    const start = performance.now();
    let passed = false;
    try {
      passed = (await run(number)) === 1;
    } catch (error) {
      report("failure", `${name}: ${error}`);
      report("test", JSON.stringify({ name, passed, ms: performance.now() - start }));
      const address = new URL(location.href);
      address.searchParams.set("first", number + 1);
      location.replace(address);
      return false;
    }
    report("test", JSON.stringify({ name, passed, ms: performance.now() - start }));
  }
  return true;
}

try {
  const url = new URL(location.href);
  if (!url.searchParams.has("began")) {
    url.searchParams.set("began", Date.now());
    location.replace(url);
  } else if (url.searchParams.has("cases")) {
    await cases();
    report("done", "");
  } else if (await tests()) {
    report("done", "");
  }
} catch (error) {
  report("failure", String(error?.stack ?? error));
  report("done", "");
}
