"""Conformance cases as ONNX models: the node of a case itself, and the same numbers as a graph of DequantizeLinear, float op, QuantizeLinear."""

import json
import pathlib
import struct

import numpy as np
from onnx import TensorProto, helper

# The set's names of data types: ONNX's number, the name of ONNX Runtime's JavaScript, NumPy's type of the stored elements. JavaScript has no
# tensors of those without a name.
TYPES = {
    "f32": (TensorProto.FLOAT, "float32", "<f4"), "f16": (TensorProto.FLOAT16, "float16", "<f2"), "i32": (TensorProto.INT32, "int32", "<i4"),
    "i64": (TensorProto.INT64, "int64", "<i8"), "f64": (TensorProto.DOUBLE, "float64", "<f8"),
    "u8": (TensorProto.UINT8, "uint8", "u1"), "s8": (TensorProto.INT8, "int8", "i1"),
    "u16": (TensorProto.UINT16, "uint16", "<u2"), "s16": (TensorProto.INT16, "int16", "<i2"),
    "u4": (TensorProto.UINT4, "uint4", "u1"), "s4": (TensorProto.INT4, "int4", "u1"),
    "u2": (TensorProto.UINT2, None, "u1"), "s2": (TensorProto.INT2, None, "u1"),
    "e4m3fn": (TensorProto.FLOAT8E4M3FN, None, "u1"), "e4m3fnuz": (TensorProto.FLOAT8E4M3FNUZ, None, "u1"),
    "e5m2": (TensorProto.FLOAT8E5M2, None, "u1"), "e5m2fnuz": (TensorProto.FLOAT8E5M2FNUZ, None, "u1"),
    "e2m1": (TensorProto.FLOAT4E2M1, None, "u1"), "e8m0": (TensorProto.FLOAT8E8M0, None, "u1"),
}
NAMES = {js: name for name, (_, js, _) in TYPES.items() if js}

# Operators of the set that are ONNX nodes, and their activations, which are the model's inputs; all else is constant.
ACTIVATIONS = {
    "QuantizeLinear": [0], "DequantizeLinear": [0], "DynamicQuantizeLinear": [0], "Cast": [0], "CastLike": [0],
    "MatMulInteger": [0], "ConvInteger": [0], "QLinearMatMul": [0], "QLinearConv": [0], "QGemm": [0], "DynamicQuantizeMatMul": [0],
    "MatMulNBits": [0], "QLinearAdd": [0, 3], "QLinearMul": [0, 3], "QLinearAveragePool": [0], "QLinearGlobalAveragePool": [0],
    "QLinearLeakyRelu": [0], "QLinearSigmoid": [0],
}
FLOAT_OPS = {
    "QLinearMatMul": "MatMul", "QLinearConv": "Conv", "QGemm": "Gemm", "QLinearAdd": "Add", "QLinearMul": "Mul",
    "QLinearAveragePool": "AveragePool", "QLinearGlobalAveragePool": "GlobalAveragePool", "QLinearLeakyRelu": "LeakyRelu", "QLinearSigmoid": "Sigmoid",
}


VERDICTS = ["equal", "near", "wrong"]


class Array:
    """A tensor of a case: its type's name, shape and bytes."""

    def __init__(self, kind, shape, data):
        self.kind, self.shape, self.data = kind, list(shape), bytes(data)

    @classmethod
    def of(cls, kind, values):
        values = np.asarray(values, dtype=TYPES[kind][2])
        return cls(kind, values.shape, values.tobytes())

    def values(self):
        return np.frombuffer(self.data, TYPES[self.kind][2])

    def numpy(self):
        return self.values().reshape(self.shape)

    def proto(self, name):
        return helper.make_tensor(name, TYPES[self.kind][0], self.shape, self.data, raw=True)

    def info(self, name):
        return helper.make_tensor_value_info(name, TYPES[self.kind][0], self.shape)


class Case:
    """A case of the set (its format is described by examples/conformance/case.rs)."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        raw = self.path.read_bytes()
        (length,) = struct.unpack("<Q", raw[:8])
        header, body = json.loads(raw[8 : 8 + length]), raw[8 + length :]
        meta = header["__metadata__"]

        def read(key):
            named = []
            for record in json.loads(meta[key]):
                if record is not None:
                    first, last = header[record["tensor"]]["data_offsets"]
                    record = (record["name"], Array(record["dtype"], record["shape"], body[first:last]))
                named.append(record)
            return named

        self.name, self.op, self.domain, self.opset = meta["name"], meta["op"], meta["domain"], int(meta["opset"])
        self.attributes, self.tolerances = json.loads(meta["attributes"]), json.loads(meta["tolerance"])
        self.inputs, self.outputs, self.aux = [r and r[1] for r in read("inputs")], read("outputs"), dict(read("aux"))

    def input(self, slot):
        return self.inputs[slot] if slot < len(self.inputs) else None


class Builder:
    def __init__(self):
        self.nodes, self.constants, self.inputs, self.feeds = [], [], [], {}

    def constant(self, array, name):
        if array is None:
            return ""
        self.constants.append(array.proto(name))
        return name

    def feed(self, array, name):
        # What JavaScript can't hold is a constant.
        if TYPES[array.kind][1] is None:
            return self.constant(array, name)
        self.inputs.append(array.info(name))
        self.feeds[name] = array
        return name

    def node(self, op, inputs, outputs, domain="", **attributes):
        while inputs and inputs[-1] == "":
            inputs = inputs[:-1]
        self.nodes.append(helper.make_node(op, inputs, outputs, domain=domain, name=f"n{len(self.nodes)}_{op}", **attributes))
        return outputs[0]

    def model(self, outputs, opset):
        graph = helper.make_graph(self.nodes, "case", self.inputs, [array.info(name) for name, array in outputs], self.constants)
        opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10 if opset < 23 else 11 if opset < 25 else 12)


def plain(case):
    """The node of a case, or None if it is no ONNX node: the model's bytes and its inputs."""
    if case.op not in ACTIVATIONS:
        return None
    b = Builder()
    slots = []
    for slot, array in enumerate(case.inputs):
        if array is None:
            slots.append("")
        elif slot in ACTIVATIONS[case.op]:
            slots.append(b.feed(array, f"x{slot}"))
        else:
            slots.append(b.constant(array, f"c{slot}"))
    types = {"to", "output_dtype", "precision"}
    attributes = {key: TYPES[value][0] if key in types else value for key, value in case.attributes.items()}
    b.node(case.op, slots, [name for name, _ in case.outputs], case.domain, **attributes)
    # The newest that ONNX Runtime Web 1.30 takes is 26; no case needs more than 25.
    opset = 21 if case.domain else min(case.opset, 25)
    return b.model(case.outputs, opset).SerializeToString(), b.feeds


def qdq(case, quantized=True, folded=False):
    """The numbers of a QLinear case as DequantizeLinear, float op, QuantizeLinear, or None. `quantized` False leaves the QuantizeLinear out;
    `folded` has float weights instead of a DequantizeLinear."""
    if case.op not in FLOAT_OPS:
        return None
    b = Builder()
    if any(array is not None and array.kind == "f16" for array in case.inputs):
        return None
    activations = ACTIVATIONS[case.op]

    def dequantized(slot, axis=0):
        array, scale, zero = case.input(slot), case.input(slot + 1), case.input(slot + 2)
        if folded and slot not in activations:
            along = [-1 if i == axis and scale.numpy().size > 1 else 1 for i in range(len(array.shape))]
            real = (array.numpy().astype("f4") - zero.numpy().astype("f4").reshape(along)) * scale.numpy().reshape(along)
            return b.constant(Array.of("f32", real), f"f{slot}")
        codes = b.feed(array, f"x{slot}") if slot in activations else b.constant(array, f"c{slot}")
        if zero is not None and zero.shape != scale.shape:
            zero = Array.of(zero.kind, np.broadcast_to(zero.numpy().reshape(-1), scale.numpy().size).reshape(scale.shape))
        names = [codes, b.constant(scale, f"c{slot + 1}"), b.constant(zero, f"c{slot + 2}")]
        return b.node("DequantizeLinear", names, [f"f{slot}"], axis=axis)

    def bias(slot, factor=1.0):
        array = case.input(slot)
        if array is None:
            return []
        scale = (case.input(1).numpy().astype(np.float64).reshape(-1) * case.input(4).numpy().reshape(-1) * factor).astype(np.float32)
        count = array.shape[-1]
        scale = Array.of("f32", scale if scale.size == count and count > 1 else scale[0])
        axis = len(array.shape) - 1
        return [b.node("DequantizeLinear", [b.constant(array, f"c{slot}"), b.constant(scale, f"s{slot}")], [f"f{slot}"], axis=axis)]

    op, attributes, last = FLOAT_OPS[case.op], dict(case.attributes), 3
    if case.op == "QLinearMatMul":
        weights = case.input(3)
        operands, last = [dequantized(0, len(case.input(0).shape) - 2), dequantized(3, len(weights.shape) - 1)], 6
    elif case.op == "QLinearConv":
        operands, last = [dequantized(0), dequantized(3), *bias(8)], 6
    elif case.op == "QGemm":
        axis = 0 if attributes.get("transB") else 1
        operands, last = [dequantized(0), dequantized(3, axis), *bias(6, attributes.get("alpha", 1.0))], 7
    elif case.op in ("QLinearAdd", "QLinearMul"):
        operands, last = [dequantized(0), dequantized(3)], 6
    else:
        operands = [dequantized(0)]
        attributes.pop("channels_last", None)
    (name, output), *_ = case.outputs
    quantized = quantized and output.kind != "f32"
    real = b.node(op, operands, ["real" if quantized else name], **attributes)
    if quantized:
        b.node("QuantizeLinear", [real, b.constant(case.input(last), "ys"), b.constant(case.input(last + 1), "yz")], [name])
    outputs = [(name, Array("f32", output.shape, b""))] if not quantized else case.outputs
    return b.model(outputs, 21).SerializeToString(), b.feeds


def unpacked(kind, data, count):
    """Codes of less than a byte, one per byte."""
    width = {"u4": 4, "s4": 4, "e2m1": 4, "u2": 2, "s2": 2}.get(kind)
    if width is None:
        return np.frombuffer(data, TYPES[kind][2])
    raw = np.frombuffer(data, "u1")
    return np.stack([(raw >> shift) & ((1 << width) - 1) for shift in range(0, 8, width)], 1).reshape(-1)[:count]


def outside(got, ref, tolerance):
    """The elements outside of a bound: ("equal" | "near" | "wrong", text). Near are sums that float32 rounds, of addends that cancel."""
    ref = ref.astype("f8")
    with np.errstate(all="ignore"):
        error, bound = np.abs(got.astype("f8") - ref), tolerance["atol"] + tolerance["rtol"] * np.abs(ref)
        wrong = ~((got == ref) | (np.isnan(got) & np.isnan(ref)) | (error <= bound))
        if not np.any(wrong):
            return "equal", ""
        far, relative = np.nanmax((error / bound)[wrong]), np.sqrt(np.nansum(error**2) / np.nansum(ref**2))
        verdict = "near" if np.all(error[wrong] <= 2.0**-20 * np.max(np.abs(ref))) else "wrong"
    return verdict, f"{int(np.sum(wrong))} of {got.size} outside of the bound, up to {far:.3g} times it, relative error {relative:.2g}"


def difference(case, got):
    """How the outputs, [(type's name, shape, bytes)], differ from the case's: ("equal" | "near" | "wrong", text). Near is a code off by one."""
    worst = ("equal", "")
    for (name, expected), tolerance, (kind, shape, data) in zip(case.outputs, case.tolerances, got, strict=True):
        if kind != expected.kind or list(shape) != expected.shape:
            return "wrong", f"{name} is {kind} {shape}, not {expected.kind} {expected.shape}"
        count = int(np.prod(expected.shape, dtype=np.int64))
        is_, should = unpacked(kind, data, count), unpacked(kind, expected.data, count) if expected.data or count == 0 else None
        if tolerance["kind"] == "float" and tolerance.get("strict") != "exact":
            # Activations may be quantized to int8 in MatMulNBits of accuracy level 4, and need not be.
            references = [tolerance.get("ref")] + [name for name in case.aux if name == "y_float_exact"]
            best = min((outside(is_, case.aux[ref].values() if ref else should, tolerance) for ref in references), key=lambda v: VERDICTS.index(v[0]))
            if best[0] == "wrong":
                return "wrong", f"{name}: {best[1]}"
            worst = max(worst, best, key=lambda v: VERDICTS.index(v[0]))
            continue
        if tolerance["kind"] == "any_of":
            if is_.astype("f8")[0] not in tolerance["values"]:
                return "wrong", f"{name} is {is_[0]}"
            continue
        same = is_.view(f"u{is_.itemsize}") == should.view(f"u{is_.itemsize}")
        if is_.dtype.kind == "f" and tolerance.get("nan_any_payload"):
            same |= np.isnan(is_) & np.isnan(should)
        if np.all(same):
            continue
        wrong = f"{name}: {int(np.sum(~same))} of {count} differ"
        if is_.dtype.kind == "f":
            with np.errstate(all="ignore"):
                relative = np.abs(is_.astype("f8") - should.astype("f8")) / np.abs(should.astype("f8"))
            return "wrong", f"{wrong}, relatively by up to {np.nanmax(relative[~same]):.2g}"
        distance = int(np.max(np.abs(is_.astype("i8") - should.astype("i8"))))
        if distance > 1:
            return "wrong", f"{wrong}, by up to {distance}"
        worst = ("near", f"{wrong}, by one")
    return worst
