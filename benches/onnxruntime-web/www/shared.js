// What both pages use. ONNX Runtime writes its log to the console, also the provider of each node.
export const log = [];
for (const name of ["log", "info", "warn", "error", "debug"]) {
  console[name] = (...parts) => log.push(parts.join(" "));
}

export const bytes = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));

export function base64(array) {
  let text = "";
  for (const byte of new Uint8Array(array.buffer, array.byteOffset, array.byteLength)) text += String.fromCharCode(byte);
  return btoa(text);
}

const ARRAYS = {
  float32: Float32Array, float16: globalThis.Float16Array ?? Uint16Array, int32: Int32Array, int64: BigInt64Array, uint8: Uint8Array,
  int8: Int8Array, uint16: Uint16Array, int16: Int16Array, uint4: Uint8Array, int4: Uint8Array,
};

/** A tensor of ONNX Runtime. */
export const tensor = (ort, { type, dims, data }) => new ort.Tensor(type, new ARRAYS[type](bytes(data).buffer), dims);

/** A tensor's type, shape and bytes. */
export const described = (output, data) => ({ type: output.type, dims: output.dims, data: base64(data) });

/** The nodes of each provider, from the log. */
export function placement() {
  const providers = {};
  let provider = null;
  for (const line of log.join("\n").split("\n").filter((text) => text.includes("VerifyEachNodeIsAssignedToAnEp]"))) {
    const start = line.match(/(All nodes|Node\(s\)) placed on \[(\w+)\]/);
    const node = line.match(/\]\s+(\w+) \(.*\)\s*$/);
    if (start) {
      providers[(provider = start[2])] ??= start[1] === "All nodes" ? ["all"] : [];
    } else if (provider && node) {
      providers[provider].push(node[1]);
    }
  }
  return providers;
}
