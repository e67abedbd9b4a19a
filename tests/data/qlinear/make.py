"""Writes cases.txt: what ONNX Runtime's CPU provider answers, as it runs by default and with its optimizations off.

python make.py, with onnx and onnxruntime installed, on x86-64 with FMA. README.md describes the file.
"""

import numpy as np
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

FORMATS = {"uint8": (np.uint8, TensorProto.UINT8), "int8": (np.int8, TensorProto.INT8)}
random = np.random.default_rng(10)


def run(format, nodes, arrays, constants, optimized):
    dtype, onnx_type = FORMATS[format]
    inputs = [helper.make_tensor_value_info(name, onnx_type, a.shape) for name, a in arrays.items()]
    output = helper.make_tensor_value_info("y", onnx_type, None)
    initializers = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "graph", inputs, [output], initializers)
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if not optimized:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"]).run(None, arrays)[0]


def constants(format, operands, output):
    dtype = FORMATS[format][0]
    named = [(f"{i}", quantization) for i, quantization in enumerate(operands)] + [("y", output)]
    scales = {f"s{name}": np.float32(scale) for name, (scale, _) in named}
    return scales | {f"z{name}": np.array(zero_point, dtype) for name, (_, zero_point) in named}


def kernel(format, op, arrays, operands, output, **attributes):
    """The answer of a com.microsoft node."""
    slots = [slot for i in range(len(arrays)) for slot in (f"x{i}", f"s{i}", f"z{i}")] + ["sy", "zy"]
    node = helper.make_node(op, slots, ["y"], domain="com.microsoft", **attributes)
    arrays = {f"x{i}": a for i, a in enumerate(arrays)}
    return run(format, [node], arrays, constants(format, operands, output), True)


def qdq(format, op, arrays, operands, output, optimized, **attributes):
    """The answer of DequantizeLinear, an ONNX node and QuantizeLinear."""
    nodes = [helper.make_node("DequantizeLinear", [f"x{i}", f"s{i}", f"z{i}"], [f"d{i}"]) for i in range(len(arrays))]
    nodes.append(helper.make_node(op, [f"d{i}" for i in range(len(arrays))], ["m"], **attributes))
    nodes.append(helper.make_node("QuantizeLinear", ["m", "sy", "zy"], ["y"]))
    arrays = {f"x{i}": a for i, a in enumerate(arrays)}
    return run(format, nodes, arrays, constants(format, operands, output), optimized)


def fnv(array):
    """FNV-1a of 64 bits over the bytes."""
    state = 0xCBF29CE484222325
    for byte in array.tobytes():
        state = (state ^ byte) * 0x100000001B3 % 2**64
    return f"{state:016x}"


def quantization(scale, zero_point):
    return f"{np.float32(scale).view(np.uint32):08x}/{zero_point}"


def zero_points(format, count):
    info = np.iinfo(FORMATS[format][0])
    return [int(z) for z in random.integers(info.min, info.max + 1, count)]


def fractions(count):
    """Scales with many ties between them."""
    return random.integers(1, 8, count).astype(np.float32) / np.float32(random.integers(1, 40))


def binary(op, lines):
    for case in range(16):
        format = ["uint8", "int8"][case % 2]
        dtype = FORMATS[format][0]
        info = np.iinfo(dtype)
        codes = np.arange(info.min, info.max + 1).astype(dtype)
        shape = ["flat", "lhs", "rhs"][case % 3]    # which of them is repeated along the last dimension
        arrays = {
            "flat": [np.repeat(codes, 256), np.tile(codes, 256)],
            "lhs": [codes[:, None].copy(), codes[None, :].copy()],
            "rhs": [codes[None, :].copy(), codes[:, None].copy()],
        }[shape]
        scales = [fractions(3), fractions(3), random.uniform(0.001, 1, 3).astype(np.float32)][case % 3]
        if case == 12:
            scales = np.array([1e-30, 0.75, 1.5], np.float32)
        if case == 13:
            scales = np.array([1, 1, 3e-4], np.float32)
        if case >= 14:
            scales = np.array([0.5, 0.5, 0.5], np.float32)
        if op == "Mul":
            scales[2] = scales[0] * scales[1] * random.choice([48, 64, 100, 128]).astype(np.float32)
        pairs = list(zip(scales, zero_points(format, 3)))
        default = kernel(format, f"QLinear{op}", arrays, pairs[:2], pairs[2])
        assert (default == qdq(format, op, arrays, pairs[:2], pairs[2], True)).all()
        off = qdq(format, op, arrays, pairs[:2], pairs[2], False)
        lhs, rhs = [np.broadcast_to(a, default.shape).ravel() for a in arrays]
        differ = np.flatnonzero(default.ravel() != off.ravel())
        differ = random.choice(differ, min(12, len(differ)), replace=False)
        some = np.concatenate([differ, random.integers(0, 65536, 4)])
        columns = [lhs[some], rhs[some], default.ravel()[some], off.ravel()[some]]
        samples = ",".join(":".join(str(int(v)) for v in row) for row in zip(*columns))
        operands = " ".join(quantization(*pair) for pair in pairs)
        lines.append(f"{op} {format} {shape} {operands} {fnv(default)} {fnv(off)} {samples}")


def pool(lines):
    for case in range(40):
        format = ["uint8", "int8"][case % 2]
        dtype = FORMATS[format][0]
        height, width = [int(v) for v in random.integers(5, 9, 2)]
        channels = int(random.integers(1, 7))
        sx, base, bits = fractions(1)[0], int(np.iinfo(dtype).min), 8
        sy = sx * np.float32(random.choice([1, 0.75, 1.25, 1.5]))
        zx, zy = base + 128 + int(random.integers(-9, 9)), base + 128 + int(random.integers(-9, 9))
        if case % 3 == 0:
            sy, zx, base, bits = sx, 3, 0, 3
        size = [int(v) for v in random.integers(1, 5, 2)]
        stride = [int(v) for v in random.integers(1, 4, 2)]
        pads = [int(random.integers(0, size[i % 2])) for i in range(4)]
        if case % 8 == 5:
            pads = [0, 0, 0, 0]
        if case % 8 == 7:
            size, pads = [height, width], [0, 0, 0, 0]
        counted, up = int(case % 4 > 1), int(case % 5 > 2)
        count = height * width * channels
        codes = (np.arange(count, dtype=np.uint64) + case) * 2654435761 % 2**32 >> 32 - bits
        x = (codes.astype(np.int64) + base).astype(dtype).reshape(1, height, width, channels)
        attributes = dict(kernel_shape=size, strides=stride, pads=pads, count_include_pad=counted, ceil_mode=up)
        default = kernel(format, "QLinearAveragePool", [x], [(sx, zx)], (sy, zy), channels_last=1, **attributes)
        planes = np.ascontiguousarray(np.moveaxis(x, 3, 1))
        same = qdq(format, "AveragePool", [planes], [(sx, zx)], (sy, zy), True, **attributes)
        assert (default == np.moveaxis(same, 1, 3)).all()
        off = np.moveaxis(qdq(format, "AveragePool", [planes], [(sx, zx)], (sy, zy), False, **attributes), 1, 3)
        numbers = [case, bits, base, height, width, channels, *size, *stride, *pads, counted, up]
        words = [",".join(str(n) for n in numbers), quantization(sx, zx), quantization(sy, zy)]
        answers = [",".join(str(int(v)) for v in np.ascontiguousarray(a).ravel()) for a in (default, off)]
        lines.append(" ".join(["AveragePool", format, *words, *answers]))


def tables(lines):
    for case in range(24):
        format = ["uint8", "int8"][case % 2]
        dtype = FORMATS[format][0]
        info = np.iinfo(dtype)
        codes = np.arange(info.min, info.max + 1).astype(dtype)
        op = ["LeakyRelu", "Sigmoid", "Concat"][case % 3]
        pairs = list(zip(fractions(2), zero_points(format, 2)))
        attributes = {"alpha": 0.1} if op == "LeakyRelu" else {}
        if op == "Sigmoid":
            pairs = sigmoid(format, codes)
        if op == "Concat":
            names = constants(format, pairs[:1], pairs[1])
            slots = ["sy", "zy", "x0", "s0", "z0"]
            node = helper.make_node("QLinearConcat", slots, ["y"], domain="com.microsoft", axis=0)
            default = run(format, [node], {"x0": codes}, names, True)
        else:
            default = kernel(format, f"QLinear{op}", [codes], pairs[:1], pairs[1], **attributes)
            assert (default == qdq(format, op, [codes], pairs[:1], pairs[1], False, **attributes)).all()
        operands = " ".join(quantization(*pair) for pair in pairs)
        lines.append(f"{op} {format} {operands} {','.join(str(int(v)) for v in default)}")


def sigmoid(format, codes):
    """Scales where the answer is not that of the exact sigmoid."""
    while True:
        info = np.iinfo(codes.dtype)
        zero_point = zero_points(format, 1)[0]
        pairs = [(np.float32(random.uniform(0.005, 0.1)), zero_point), (np.float32(1 / 256), info.min)]
        x = (codes.astype(np.float32) - zero_point) * pairs[0][0]
        exact = np.rint(np.float32(1 / (1 + np.exp(-x.astype(np.float64)))) * 256) + info.min
        default = kernel(format, "QLinearSigmoid", [codes], pairs[:1], pairs[1])
        if (default != np.clip(exact, info.min, info.max)).any():
            return pairs


def softmax(lines):
    lengths = [1, 2, 7, 20, 50, 100, 1000, 6625]
    for case in range(64):
        format = ["uint8", "int8"][case % 2]
        dtype = FORMATS[format][0]
        least = int(np.iinfo(dtype).min)
        kind, length = case // 2 % 4, lengths[case // 8]
        rows = 4 if length < 1000 else 2
        # Steps of the output in 1. Rows of one code are shares of 1 / length: half a step past a whole one.
        steps = int(random.integers(1, 255))
        if kind == 1:
            steps = length * int(random.integers(0, 4)) + (length + 1) // 2
        if format == "int8":
            steps = min(steps, 255)
        sy = np.float32(1) / np.float32(steps)
        if np.floor(np.float32(1) / sy) < steps:
            sy = np.nextafter(sy, np.float32(0))
        sx = np.float32(10 ** random.uniform(-3, 0))
        zx, zy = zero_points(format, 1)[0], least + int(random.integers(0, 20)) * (format == "uint8")
        i = np.arange(rows * length, dtype=np.uint64)
        hashed = (i + np.uint64(case)) * np.uint64(2654435761) % np.uint64(2**32) >> np.uint64(24)
        row, column = i // np.uint64(length), i % np.uint64(length)
        codes = [
            hashed,
            (case + 40 * row) % np.uint64(256),
            100 + hashed // np.uint64(16) + 100 * (column == length // 2).astype(np.uint64),
            240 + (hashed & np.uint64(1)) * np.uint64(5),
        ][kind]
        x = (codes.astype(np.int64) + least).astype(dtype).reshape(rows, length)
        default = kernel(format, "QLinearSoftmax", [x], [(sx, zx)], (sy, zy), axis=-1, opset=13)
        answers = ",".join(str(int(v)) for v in default.ravel()) if length <= 20 else "-"
        words = [",".join(str(n) for n in (case, rows, length, kind)), quantization(sx, zx), quantization(sy, zy)]
        lines.append(" ".join(["Softmax", format, *words, fnv(default), answers]))


lines = []
binary("Add", lines)
binary("Mul", lines)
pool(lines)
tables(lines)
softmax(lines)
with open("cases.txt", "w") as file:
    file.write(f"# onnxruntime {ort.__version__}\n" + "\n".join(lines) + "\n")
