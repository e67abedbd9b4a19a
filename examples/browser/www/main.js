import init, { Page } from "./pkg/lowbit_browser.js";
import { replay } from "./replay.js";

const element = (id) => document.getElementById(id);

/** Shows a sentence; `right` chooses its colour. */
function say(id, text, right = true) {
  element(id).textContent = text;
  element(id).classList.toggle("wrong", !right);
}

/** A row with a bar of this share of the width. */
function bar(name, share, text, best = false) {
  const row = document.createElement("div");
  row.className = best ? "bar best" : "bar";
  const [label, line, value] = ["span", "i", "span"].map((kind) => row.appendChild(document.createElement(kind)));
  label.textContent = name;
  line.style.width = `${Math.max(0.5, 100 * share)}%`;
  value.textContent = text;
  return row;
}

/** Runs work while its button is disabled, and shows its error. */
function onClick(button, verdict, work) {
  element(button).addEventListener("click", async () => {
    element(button).disabled = true;
    try {
      await work();
    } catch (error) {
      say(verdict, error.message, false);
    }
    element(button).disabled = false;
  });
}

async function product(page) {
  const [gpu, reference] = [await page.product(), page.product_by_reference()];
  element("product-gpu").textContent = gpu.join("  ");
  element("product-reference").textContent = reference.join("  ");
  const equal = gpu.every((code, i) => code === reference[i]);
  say("product-verdict", equal ? "Equal bits." : "The bits differ.", equal);
}

/** The drawing as 8 × 8 numbers from 0 to 1, centred as the network learned them. */
function pixels(canvas) {
  const { data, width, height } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let [left, top, right, bottom] = [width, height, 0, 0];
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      if (data[4 * (y * width + x)] > 32) {
        [left, right] = [Math.min(left, x), Math.max(right, x + 1)];
        [top, bottom] = [Math.min(top, y), Math.max(bottom, y + 1)];
      }
    }
  }
  const image = new Float32Array(64);
  if (right <= left) return image;
  // The box of the strokes fills the image's height.
  const size = Math.max(right - left, bottom - top);
  const small = new OffscreenCanvas(8, 8).getContext("2d", { willReadFrequently: true });
  small.imageSmoothingQuality = "high";
  const [x, y] = [(left + right - size) / 2, (top + bottom - size) / 2];
  // By halves, because a browser's smoothing looks at few pixels.
  let source = new OffscreenCanvas(128, 128);
  source.getContext("2d").drawImage(canvas, x, y, size, size, 0, 0, 128, 128);
  for (let side = 64; side >= 8; side /= 2) {
    const next = side === 8 ? small.canvas : new OffscreenCanvas(side, side);
    const context = side === 8 ? small : next.getContext("2d");
    context.drawImage(source, 0, 0, side, side);
    source = next;
  }
  const levels = small.getImageData(0, 0, 8, 8).data;
  for (let i = 0; i < 64; i += 1) image[i] = Math.min(1, (levels[4 * i] / 255) * 1.2);
  return image;
}

async function digits(page) {
  const network = await page.digits();
  element("plan").textContent = network.plan();
  const canvas = element("drawing");
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  Object.assign(pen, { lineWidth: 26, lineCap: "round", lineJoin: "round", strokeStyle: "#fff" });
  let [busy, again] = [false, false];

  async function classify() {
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    try {
      const start = performance.now();
      const { logits, equal } = JSON.parse(await network.classify(pixels(canvas)));
      const ms = performance.now() - start;
      const most = Math.max(...logits);
      const weights = logits.map((logit) => Math.exp(logit - most));
      const sum = weights.reduce((a, b) => a + b, 0);
      const rows = weights.map((w, digit) => bar(String(digit), w / sum, logits[digit].toFixed(2), logits[digit] === most));
      element("logits").replaceChildren(...rows);
      const digit = logits.indexOf(most);
      const bits = equal ? "bits equal to the reference" : "BITS DIFFER FROM THE REFERENCE";
      say("digit-verdict", `${digit}, in ${ms.toFixed(1)} ms with upload and download; ${bits}`, equal);
    } catch (error) {
      say("digit-verdict", error.message, false);
    }
    busy = false;
    if (again) {
      again = false;
      classify();
    }
  }

  /** The same plan as data, run by plain JavaScript on a device of its own. */
  async function withoutLowbit() {
    const [plan, data] = [JSON.parse(network.exported()), network.exported_data()];
    const device = await (await navigator.gpu.requestAdapter()).requestDevice();
    const image = Float32Array.from({ length: 64 }, (_, i) => (i % 17) / 16);
    const [output] = await replay(device, plan, data, [new Uint8Array(image.buffer)]);
    device.destroy();
    const logits = [...new Float32Array(output.buffer, 0, 10)];
    const equal = JSON.parse(await network.classify(image)).logits.every((logit, i) => logit === logits[i]);
    const text = equal ? "The exported plan gives the same bits in plain JavaScript." : "The exported plan differs in JavaScript.";
    say("replay-verdict", text, equal);
  }

  function clear() {
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, canvas.width, canvas.height);
    element("logits").replaceChildren(...Array.from({ length: 10 }, (_, digit) => bar(String(digit), 0, "")));
    say("digit-verdict", "");
  }

  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) * canvas.width) / box.width, ((event.clientY - box.top) * canvas.height) / box.height];
  };
  let last = null;
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    last = place(event);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!last) return;
    const next = place(event);
    pen.beginPath();
    pen.moveTo(...last);
    pen.lineTo(...next);
    pen.stroke();
    last = next;
    classify();
  });
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (last = null));
  element("clear").addEventListener("click", clear);
  clear();
  await withoutLowbit().catch((error) => say("replay-verdict", error.message, false));
}

/** Weights that a Worker imports and packs; the page multiplies by them, and says how long it stood still meanwhile. */
async function packing(page) {
  const [rows, columns] = [2048, 2048];
  let [last, longest] = [performance.now(), 0];
  const turn = () => {
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  };
  const ticks = setInterval(turn, 4);
  const start = performance.now();
  const worker = new Worker("packing.js", { type: "module" });
  let answer;
  try {
    answer = await new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = () => reject(new Error("the Worker failed"));
      worker.postMessage({ rows, columns });
    });
  } finally {
    clearInterval(ticks);
    worker.terminate();
  }
  if (answer.error) throw new Error(answer.error);
  turn();
  const ms = performance.now() - start;
  const right = await page.multiply(rows, columns, answer.words);
  const size = `${rows} × ${columns} weights of 4 bits`;
  const pause = `the page never stood still for more than ${longest.toFixed(0)} ms`;
  say("packing-verdict", right ? `${size}, imported in ${ms.toFixed(0)} ms; ${pause}.` : "The product is wrong.", right);
  return { right, ms, longest };
}

async function kernels(page) {
  const [rows, columns] = ["rows", "columns"].map((id) => Number(element(id).value));
  const names = JSON.parse(page.kernels(rows, columns, columns));
  const times = [];
  for (const [index, name] of names.entries()) {
    element("kernels").replaceChildren(...shown(times), bar(name, 0, "…"));
    times.push([name, await page.time_kernel(rows, columns, columns, index)]);
  }
  element("kernels").replaceChildren(...shown(times));
}

function shown(times) {
  const right = times.map(([, ms]) => ms).filter((ms) => ms >= 0);
  const [least, most] = [Math.min(...right), Math.max(...right)];
  return times.map(([name, ms]) => bar(name, ms / most, ms < 0 ? "WRONG" : `${ms.toFixed(2)} ms`, ms === least));
}

async function conformance(page) {
  const names = await (await fetch("cases/index.json")).json();
  Object.assign(element("progress"), { max: names.length, value: 0, hidden: false });
  element("operators").hidden = false;
  const operators = new Map();
  const failures = [];
  for (const [number, name] of names.entries()) {
    const file = new Uint8Array(await (await fetch(`cases/${name}`)).arrayBuffer());
    const { operator, gpu, cpu } = JSON.parse(await page.conformance(file));
    const row = operators.get(operator) ?? { cases: 0, gpu: 0, cpu: 0 };
    row.cases += 1;
    row.gpu += gpu === null;
    row.cpu += cpu === null;
    operators.set(operator, row);
    for (const [kind, error] of [["GPU", gpu], ["reference", cpu]]) if (error) failures.push(`${name} (${kind}): ${error}`);
    element("progress").value = number + 1;
    if (number % 16 === 15 || number === names.length - 1) table(operators);
  }
  const right = failures.length === 0;
  say("conformance-verdict", right ? `All ${names.length} cases are right.` : `${failures.length} failures: ${failures[0]}`, right);
  return { cases: names.length, failures };
}

function table(operators) {
  const rows = [...operators].sort(([a], [b]) => a.localeCompare(b)).map(([operator, { cases, gpu, cpu }]) => {
    const row = document.createElement("tr");
    for (const [value, right] of [[operator, true], [cases, true], [gpu, gpu === cases], [cpu, cpu === cases]]) {
      const cell = row.insertCell();
      cell.textContent = value;
      cell.classList.toggle("wrong", !right);
    }
    return row;
  });
  element("operators").tBodies[0].replaceChildren(...rows);
}

async function main() {
  let page;
  try {
    await init();
    page = await Page.open();
  } catch (error) {
    say("device", error.message, false);
    for (const button of document.querySelectorAll("button")) button.disabled = true;
    return;
  }
  say("device", page.description());
  element("device").classList.remove("verdict");
  onClick("time", "device", () => kernels(page));
  onClick("pack", "packing-verdict", () => packing(page));
  onClick("conformance", "conformance-verdict", () => conformance(page));
  await product(page).catch((error) => say("product-verdict", error.message, false));
  await digits(page).catch((error) => say("digit-verdict", error.message, false));
  document.body.dataset.ready = "true";
}

// For automated visits.
globalThis.lowbitPage = { conformance, kernels, packing };
main();
