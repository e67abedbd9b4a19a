"""Products whose times are taken, as files in the format of conformance cases."""

import json
import struct

import numpy as np

from models import Array


def write(path, op, domain, attributes, inputs, outputs, aux, tolerance):
    """A case's file."""
    header, body = {}, b""

    def add(key, array):
        nonlocal body
        kind = {"u8": "U8", "s8": "I8", "i32": "I32", "f32": "F32", "f64": "F64"}[array.kind]
        header[key] = {"dtype": kind, "shape": array.shape, "data_offsets": [len(body), len(body) + len(array.data)]}
        body += array.data
        return key

    def records(prefix, named):
        return json.dumps([
            array and {"name": name, "tensor": add(f"{prefix}{i}", array), "dtype": array.kind, "shape": array.shape, "packing": "raw"}
            for i, (name, array) in enumerate(named)
        ])

    meta = {
        "format": "qconf/1", "name": path.stem, "op": op, "domain": domain, "opset": "21", "attributes": json.dumps(attributes), "notes": "",
        "inputs": records("in", inputs), "outputs": records("out", outputs), "aux": records("aux", aux), "tolerance": json.dumps([tolerance]),
        "provenance": json.dumps({"source": "generated", "oracle": "numpy"}),
    }
    raw = json.dumps({"__metadata__": meta, **header}).encode()
    raw += b" " * (-len(raw) % 8)
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + body)


def scales(random, count):
    """Powers of two: float32 sums of such products are exact here, so every answer has one right value."""
    return (2.0 ** random.integers(-8, -4, count)).astype("f4")


def quantized(real, scale, zero):
    return np.clip(np.rint(real / scale) + zero, 0, 255).astype("u1")


def output_scale(real):
    return np.float32(2.0 ** np.ceil(np.log2(3 * real.std() / 127)))


def matmul(path, m, k, n):
    """uint8 activations by int8 weights with a scale for each column, to uint8."""
    random = np.random.default_rng([m, k, n])
    a, b = random.integers(0, 256, (m, k), "u1"), random.integers(-127, 128, (k, n), "i1")
    sa, sb, za = np.float32(2.0**-6), scales(random, n), 128
    real = ((a.astype("f8") - za) @ b.astype("f8")) * (np.float64(sa) * sb)
    sy = output_scale(real)
    inputs = [("a", Array.of("u8", a)), ("a_scale", Array.of("f32", sa)), ("a_zero_point", Array.of("u8", za)), ("b", Array.of("s8", b)),
              ("b_scale", Array.of("f32", sb)), ("b_zero_point", Array.of("s8", np.zeros(n))), ("y_scale", Array.of("f32", sy)),
              ("y_zero_point", Array.of("u8", 128))]
    write(path, "QLinearMatMul", "", {}, inputs, [("y", Array.of("u8", quantized(real, sy, 128)))], [("real", Array.of("f64", real))], {"kind": "exact"})


def conv(path, size, channels, kernel):
    """The same as a convolution that keeps the image's size, with a scale for each channel."""
    random = np.random.default_rng([size, channels, kernel])
    x, w = random.integers(0, 256, (1, channels, size, size), "u1"), random.integers(-127, 128, (channels, channels, kernel, kernel), "i1")
    sx, sw, zx = np.float32(2.0**-6), scales(random, channels), 128
    pad = kernel // 2
    padded = np.pad(x[0].astype("f8") - zx, ((0, 0), (pad, pad), (pad, pad)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), (1, 2))
    real = np.tensordot(w.astype("f8"), windows, ([1, 2, 3], [0, 3, 4]))[None] * (np.float64(sx) * sw)[None, :, None, None]
    sy = output_scale(real)
    inputs = [("x", Array.of("u8", x)), ("x_scale", Array.of("f32", sx)), ("x_zero_point", Array.of("u8", zx)), ("w", Array.of("s8", w)),
              ("w_scale", Array.of("f32", sw)), ("w_zero_point", Array.of("s8", np.zeros(channels))), ("y_scale", Array.of("f32", sy)),
              ("y_zero_point", Array.of("u8", 128))]
    attributes = {"kernel_shape": [kernel] * 2, "pads": [pad] * 4, "strides": [1, 1], "dilations": [1, 1], "group": 1}
    write(path, "QLinearConv", "", attributes, inputs, [("y", Array.of("u8", quantized(real, sy, 128)))], [("real", Array.of("f64", real))],
          {"kind": "exact"})


def nbits(path, m, k, n, level, block=32):
    """float32 activations by 4-bit weights with a scale for each block; at level 4 they may be quantized to int8 in the same blocks."""
    random = np.random.default_rng([m, k, n, level, 1])
    a, codes = random.standard_normal((m, k)).astype("f4"), random.integers(0, 16, (n, k // block, block), "u1")
    s = (0.01 + 0.02 * random.random((n, k // block))).astype("f4")
    weights = ((codes.astype("f8") - 8) * s[:, :, None].astype("f8")).reshape(n, k)
    blocks = a.reshape(m, k // block, block)
    scale = (np.abs(blocks).max(2, keepdims=True) / np.float32(127)).astype("f4")
    rounded = np.rint(blocks / scale)
    # ONNX Runtime multiplies by the reciprocal, lowbit divides: the numbers are such that both round alike.
    assert np.array_equal(rounded, np.rint(blocks * (np.float32(1) / scale)))
    rounded = rounded * scale.astype("f8")
    sources = {"y_int8_exact": rounded.reshape(m, k)} if level == 4 else {}
    sources["y_float_exact"] = a.astype("f8")
    aux = [(name, Array.of("f64", source @ weights.T)) for name, source in sources.items()]
    bound = 8 * 2.0**-24 * (np.abs(a) @ np.abs(weights).T).max()
    b = (codes[:, :, 0::2] | codes[:, :, 1::2] << 4).astype("u1")
    inputs = [("A", Array.of("f32", a)), ("B", Array.of("u8", b)), ("scales", Array.of("f32", s))]
    attributes = {"K": k, "N": n, "bits": 4, "block_size": block, "accuracy_level": level}
    write(path, "MatMulNBits", "com.microsoft", attributes, inputs, [("Y", Array.of("f32", (a @ weights.T.astype("f4")).astype("f4")))], aux,
          {"kind": "float", "atol": float(bound), "rtol": 0.0, "ref": aux[0][0]})


def all_products(folder):
    """The files, with their titles."""
    sizes = [(m, k) for k in (1024, 2048) for m in (1, 64)]
    for m, k in sizes:
        matmul(path := folder / f"matmul-{m}-{k}.safetensors", m, k, k)
        yield f"QDQ MatMul u8 × s8, m = {m}, k = n = {k}", path
    conv(path := folder / "conv.safetensors", 56, 64, 3)
    yield "QDQ Conv u8 × s8, 3×3, 56×56×64 → 64", path
    for level in (0, 4):
        for m, k in sizes:
            nbits(path := folder / f"nbits-{level}-{m}-{k}.safetensors", m, k, k, level)
            yield f"MatMulNBits, 4 bits, blocks of 32, level {level}, m = {m}, k = n = {k}", path
