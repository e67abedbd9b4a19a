"""Writes small .tflite files, and what LiteRT's interpreter with its reference kernels makes of them.

    tflite-networks.py FOLDER [MODEL…]

NAME.tflite is a network, NAME.io the bytes of its inputs and then of its outputs. Of further models the variables become inputs and
outputs. Needs ai-edge-litert, flatbuffers and numpy.
"""

import os
import sys

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.uint8): schema.TensorType.UINT8,
    np.dtype(np.int16): schema.TensorType.INT16,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.int64): schema.TensorType.INT64,
}
NONE, RELU, RELU_N1_TO_1, RELU6 = range(4)
SAME, VALID = 0, 1


class Net:
    """One network: tensors, ops, and random numbers that its name seeds."""

    def __init__(self, name):
        self.name = name
        self.random = np.random.default_rng(list(name.encode()))
        self.model = schema.ModelT(version=3, description="random", operatorCodes=[], buffers=[schema.BufferT()], subgraphs=[])
        self.graph = schema.SubGraphT(tensors=[], inputs=[], outputs=[], operators=[], name="main")
        self.model.subgraphs.append(self.graph)
        self.arrays = []

    def tensor(self, shape, dtype=np.int8, scale=None, zero=0, axis=0, data=None, kind=None, name=None):
        buffer = 0
        if data is not None:
            raw = data if isinstance(data, bytes) else np.ascontiguousarray(data, dtype).tobytes()
            buffer = len(self.model.buffers)
            self.model.buffers.append(schema.BufferT(data=np.frombuffer(raw, np.uint8)))
        quantization = None
        if scale is not None:
            scales = np.atleast_1d(np.asarray(scale, np.float32))
            zeros = np.atleast_1d(np.asarray(zero, np.int64))
            zeros = np.resize(zeros, scales.shape)
            quantization = schema.QuantizationParametersT(scale=scales, zeroPoint=zeros, quantizedDimension=axis)
        index = len(self.graph.tensors)
        self.graph.tensors.append(
            schema.TensorT(
                shape=np.asarray(shape, np.int32),
                type=TYPES[np.dtype(dtype)] if kind is None else kind,
                buffer=buffer,
                name=name or f"t{index}",
                quantization=quantization,
            )
        )
        return index

    def codes(self, shape, dtype=np.int8):
        info = np.iinfo(dtype)
        return self.random.integers(info.min, info.max + 1, shape, dtype)

    def input(self, shape, dtype=np.int8, scale=None, zero=0, values=None):
        """An input; 8-bit ones have all codes first, if they have room for them."""
        index = self.tensor(shape, dtype, scale, zero, name=f"input{len(self.graph.inputs)}")
        self.graph.inputs.append(index)
        if values is None:
            values = self.random.normal(0, 2, shape).astype(dtype) if dtype == np.float32 else self.codes(shape, dtype)
            if values.itemsize == 1 and values.size >= 256:
                values.reshape(-1)[:256] = np.arange(256).astype(np.uint8).view(dtype)
        self.arrays.append(np.asarray(values, dtype).reshape(shape))
        return index

    def constant(self, values, dtype=np.int32):
        values = np.asarray(values, dtype)
        return self.tensor(values.shape, dtype, data=values)

    def bias(self, x, weights, outputs, dtype=np.int32, reach=4000):
        scales = [self.graph.tensors[i].quantization.scale for i in (x, weights)]
        return self.tensor([outputs], dtype, scale=scales[0] * scales[1], data=self.random.integers(-reach, reach, outputs))

    def op(self, name, inputs, outputs, options=None, **fields):
        code = getattr(schema.BuiltinOperator, name)
        codes = [entry.builtinCode for entry in self.model.operatorCodes]
        if code not in codes:
            entry = schema.OperatorCodeT(builtinCode=code, deprecatedBuiltinCode=min(code, 127), version=1)
            self.model.operatorCodes.append(entry)
            codes.append(code)
        table, kind = None, 0
        if options is not None:
            table = getattr(schema, options + "OptionsT")()
            kind = getattr(schema.BuiltinOptions, options + "Options")
            for key, value in fields.items():
                assert hasattr(table, key), (options, key)
                setattr(table, key, value)
        self.graph.operators.append(
            schema.OperatorT(
                opcodeIndex=codes.index(code),
                inputs=np.asarray(inputs, np.int32),
                outputs=np.asarray(outputs, np.int32),
                builtinOptionsType=kind,
                builtinOptions=table,
            )
        )
        return outputs[0]

    def output(self, *indices):
        self.graph.outputs.extend(indices)

    def write(self, folder):
        for name in ("inputs", "outputs"):
            setattr(self.graph, name, np.asarray(getattr(self.graph, name), np.int32))
        content = packed(self.model)
        results = run(content, self.arrays)
        save(folder, self.name, content, self.arrays, results)


def packed(model):
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def without_variables(folder, path):
    """A model whose variables are inputs and outputs, on random inputs."""
    with open(path, "rb") as file:
        model = schema.ModelT.InitFromPackedBuf(file.read(), 0)
    graph = model.subgraphs[0]
    inputs, outputs, kept = list(graph.inputs), list(graph.outputs), []
    for op in graph.operators:
        code = model.operatorCodes[op.opcodeIndex]
        name = {
            schema.BuiltinOperator.CALL_ONCE: "call",
            schema.BuiltinOperator.VAR_HANDLE: "handle",
            schema.BuiltinOperator.READ_VARIABLE: "read",
            schema.BuiltinOperator.ASSIGN_VARIABLE: "assign",
        }.get(max(code.builtinCode, code.deprecatedBuiltinCode))
        inputs += list(op.outputs) if name == "read" else []
        outputs += [op.inputs[1]] if name == "assign" else []
        kept += [] if name else [op]
    graph.inputs, graph.outputs, graph.operators = np.asarray(inputs, np.int32), np.asarray(outputs, np.int32), kept
    model.subgraphs, model.signatureDefs, model.metadata = [graph], [], []
    random = np.random.default_rng(1)
    arrays = [random.integers(-128, 128, graph.tensors[index].shape, np.int8) for index in inputs]
    content = packed(model)
    name = os.path.splitext(os.path.basename(path))[0]
    save(folder, name, content, arrays, run(content, arrays))


def run(content, arrays):
    interpreter = Interpreter(model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    for detail, array in zip(interpreter.get_input_details(), arrays, strict=True):
        interpreter.set_tensor(detail["index"], array)
    interpreter.invoke()
    return [interpreter.get_tensor(detail["index"]) for detail in interpreter.get_output_details()]


def save(folder, name, content, arrays, results):
    with open(os.path.join(folder, name + ".tflite"), "wb") as file:
        file.write(content)
    with open(os.path.join(folder, name + ".io"), "wb") as file:
        for array in [*arrays, *results]:
            file.write(np.ascontiguousarray(array).tobytes())


def conv(net, x, shape, weights, stride=(1, 1), padding=SAME, dilation=(1, 1), activation=NONE, dtype=np.int8,
         weight_scale=None, weight_zero=0, bias=np.int32, depthwise=False, four_bits=False, out=(0.07, 3)):
    """A convolution with random weights `[outputs, height, width, channels]`, or depthwise ones `[1, height, width, outputs]`."""
    outputs = weights[3] if depthwise else weights[0]
    if weight_scale is None:
        weight_scale = net.random.uniform(0.0005, 0.006, outputs)
    weight_type = np.uint8 if dtype == np.uint8 else np.int8
    kind, data = None, net.codes(weights, weight_type)
    if weight_type == np.int8:
        data = np.maximum(data, -127)
    if four_bits:
        data = np.clip(data // 16, -7, 7).reshape(-1)
        pairs = np.resize(data, (data.size + 1) // 2 * 2).reshape(-1, 2).astype(np.uint8) & 15
        kind, data = schema.TensorType.INT4, (pairs[:, 0] | pairs[:, 1] << 4).astype(np.uint8).tobytes()
        weight_scale = np.asarray(weight_scale) * 16
    w = net.tensor(weights, weight_type, weight_scale, weight_zero, axis=3 if depthwise else 0, data=data, kind=kind)
    inputs = [x, w, net.bias(x, w, outputs, bias)]
    y = net.tensor(shape, dtype, *out)
    fields = dict(padding=padding, strideH=stride[0], strideW=stride[1], dilationHFactor=dilation[0], dilationWFactor=dilation[1])
    fields["fusedActivationFunction"] = activation
    if depthwise:
        fields["depthMultiplier"] = outputs // net.graph.tensors[x].shape[-1]
    return net.op("DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", inputs, [y], "DepthwiseConv2D" if depthwise else "Conv2D", **fields)


def networks():
    def net(name):
        made.append(Net(name))
        return made[-1]

    made = []

    # Convolutions.
    n = net("conv_per_channel")
    n.output(conv(n, n.input([1, 9, 8, 5], scale=0.05, zero=-3), [1, 5, 4, 7], [7, 3, 3, 5], stride=(2, 2), activation=RELU6))
    n = net("conv_per_tensor")
    n.output(conv(n, n.input([2, 7, 9, 6], scale=0.04, zero=5), [2, 5, 7, 9], [9, 3, 3, 6], padding=VALID, weight_scale=0.003))
    n = net("conv_dilated")
    n.output(conv(n, n.input([1, 9, 9, 4], scale=0.04, zero=5), [1, 9, 9, 6], [6, 3, 3, 4], dilation=(2, 3), activation=RELU))
    n = net("conv_grouped")
    n.output(conv(n, n.input([1, 6, 6, 8], scale=0.04, zero=5), [1, 6, 6, 6], [6, 3, 3, 4], activation=RELU_N1_TO_1, out=(0.02, 0)))
    n = net("conv_pointwise")
    n.output(conv(n, n.input([1, 6, 6, 8], scale=0.04, zero=5), [1, 6, 6, 12], [12, 1, 1, 8], out=(0.03, -9)))
    n = net("conv_uint8")
    x = n.input([1, 8, 8, 5], np.uint8, 0.0331, 120)
    n.output(conv(n, x, [1, 8, 8, 8], [8, 3, 3, 5], dtype=np.uint8, weight_scale=0.00471, weight_zero=131, out=(0.0391, 100)))
    n = net("conv_int16")
    x = n.input([1, 6, 6, 5], np.int16, 0.0002)
    n.output(conv(n, x, [1, 6, 6, 7], [7, 3, 3, 5], dtype=np.int16, bias=np.int64, out=(0.0003, 0), activation=RELU))
    n = net("conv_int4")
    n.output(conv(n, n.input([1, 6, 6, 8], scale=0.04, zero=5), [1, 6, 6, 5], [5, 3, 3, 8], four_bits=True))
    n = net("depthwise")
    x = n.input([1, 9, 9, 6], scale=0.05, zero=-3)
    n.output(conv(n, x, [1, 5, 5, 6], [1, 3, 3, 6], stride=(2, 2), depthwise=True, activation=RELU6, out=(0.04, -128)))
    n = net("depthwise_multiplier")
    x = n.input([2, 7, 6, 3], scale=0.05, zero=-3)
    n.output(conv(n, x, [2, 5, 4, 6], [1, 3, 3, 6], padding=VALID, depthwise=True, out=(0.04, 1)))
    n = net("depthwise_uint8")
    x = n.input([1, 7, 6, 4], np.uint8, 0.0501, 130)
    n.output(conv(n, x, [1, 7, 6, 4], [1, 5, 5, 4], dtype=np.uint8, weight_scale=0.0047, weight_zero=121, depthwise=True, out=(0.0411, 90)))
    n = net("depthwise_int16")
    x = n.input([1, 7, 6, 4], np.int16, 0.0002)
    n.output(conv(n, x, [1, 7, 6, 4], [1, 3, 3, 4], dtype=np.int16, bias=np.int64, depthwise=True, out=(0.0001, 0)))
    for name, dtype, padding, size, scale in [
        ("transpose_conv", np.int8, SAME, (12, 10), None),
        ("transpose_conv_valid", np.int8, VALID, (13, 11), 0.0037),
        ("transpose_conv_uint8", np.uint8, SAME, (12, 10), 0.0037),
    ]:
        n = net(name)
        zero = 0 if dtype == np.int8 else 128
        x = n.input([1, 6, 5, 4], dtype, 0.05, zero - 2)
        scale = n.random.uniform(0.0005, 0.006, 3) if scale is None else scale
        w = n.tensor([3, 3, 3, 4], dtype, scale, zero, data=np.maximum(n.codes([3, 3, 3, 4], dtype), -127 if dtype == np.int8 else 0))
        y = n.tensor([1, *size, 3], dtype, 0.041, zero + 5)
        shape = n.constant([1, *size, 3])
        n.output(n.op("TRANSPOSE_CONV", [shape, w, x, n.bias(x, w, 3)], [y], "TransposeConv", padding=padding, strideH=2, strideW=2))

    # Matrix products.
    for name, dtype, scale, bias, activation in [
        ("fully_connected", np.int8, 0.00371, np.int32, RELU),
        ("fully_connected_per_channel", np.int8, None, np.int32, NONE),
        ("fully_connected_uint8", np.uint8, 0.00371, np.int32, RELU6),
        ("fully_connected_int16", np.int16, 0.00371, np.int64, NONE),
        ("fully_connected_no_bias", np.int8, 0.00371, None, NONE),
        ("fully_connected_int4", np.int8, 0.05, np.int32, NONE),
    ]:
        n = net(name)
        zero = {np.int8: 3, np.uint8: 131, np.int16: 0}[dtype]
        step = 0.05 / (256 if dtype == np.int16 else 1)
        x = n.input([60, 40], dtype, step, zero)
        weights = np.uint8 if dtype == np.uint8 else np.int8
        kind, data = None, n.codes([21, 40], weights)
        if "int4" in name:
            nibbles = (data // 16).reshape(-1, 2).astype(np.uint8) & 15
            kind, data = schema.TensorType.INT4, (nibbles[:, 0] | nibbles[:, 1] << 4).tobytes()
        scale = n.random.uniform(0.0005, 0.006, 21) if scale is None else scale
        w = n.tensor([21, 40], weights, scale, 128 if dtype == np.uint8 else 0, data=data, kind=kind)
        inputs = [x, w] + ([n.bias(x, w, 21, bias)] if bias else [])
        y = n.tensor([60, 21], dtype, step * 1.7, zero)
        n.output(n.op("FULLY_CONNECTED", inputs, [y], "FullyConnected", fusedActivationFunction=activation))
    # Products that lie in the middle between two codes.
    n = net("fully_connected_halves")
    x = n.input([64, 1], scale=0.5, zero=0, values=np.arange(-32, 32))
    w = n.tensor([16, 1], scale=0.25, data=np.arange(-8, 8))
    y = n.tensor([64, 16], scale=1.0, zero=0)
    b = n.tensor([16], np.int32, scale=0.125, data=np.arange(16))
    n.output(n.op("FULLY_CONNECTED", [x, w, b], [y], "FullyConnected"))
    n = net("fully_connected_keep_dims")
    x = n.input([2, 5, 16], scale=0.05, zero=3)
    w = n.tensor([6, 16], scale=0.004, data=n.codes([6, 16]))
    y = n.tensor([2, 5, 6], scale=0.06, zero=1)
    n.output(n.op("FULLY_CONNECTED", [x, w, n.bias(x, w, 6)], [y], "FullyConnected", keepNumDims=True))

    # Sums and products: all pairs of codes along two axes, and other scales.
    every = np.arange(256).astype(np.uint8)
    for name in ("ADD", "SUB", "MUL"):
        for number, (dtype, a, b, out, activation) in enumerate([
            (np.int8, (0.05, -3), (0.031, 7), (0.0613, 2), NONE),
            (np.uint8, (0.5, 128), (0.25, 100), (0.375, 120), RELU),
            (np.int8, (0.0117, 1), (0.0493, -30), (0.05, -128), RELU6),
        ]):
            n = net(f"{name.lower()}_{number}")
            if name == "MUL":
                out = (out[0] * 2, out[1])
            rows = every.view(dtype)[number::3]
            x = n.input([len(rows), 1], dtype, *a, values=rows)
            y = n.input([1, 40], dtype, *b, values=every.view(dtype)[n.random.permutation(256)[:40]])
            z = n.tensor([len(rows), 40], dtype, *out)
            n.output(n.op(name, [x, y], [z], name.title(), fusedActivationFunction=activation))
    n = net("add_constant")
    x = n.input([1, 4, 16, 5], scale=0.05, zero=2)
    y = n.tensor([5], scale=0.02, zero=0, data=n.codes([5]))
    n.output(n.op("ADD", [x, y], [n.tensor([1, 4, 16, 5], scale=0.06, zero=-2)], "Add"))

    # Windows.
    for dtype in (np.int8, np.uint8):
        suffix = "" if dtype == np.int8 else "_uint8"
        for name, op, kernel, stride, padding, activation, size in [
            ("average_pool", "AVERAGE_POOL_2D", (3, 2), (2, 1), SAME, NONE, (5, 8)),
            ("average_pool_relu6", "AVERAGE_POOL_2D", (4, 4), (1, 1), VALID, RELU6, (6, 5)),
            ("max_pool", "MAX_POOL_2D", (3, 3), (2, 2), SAME, RELU, (5, 4)),
        ]:
            n = net(name + suffix)
            x = n.input([1, 9, 8, 7], dtype, 0.04, -7 if dtype == np.int8 else 119)
            y = n.tensor([1, *size, 7], dtype, 0.04, -7 if dtype == np.int8 else 119)
            n.output(n.op(op, [x], [y], "Pool2D", padding=padding, strideH=stride[0], strideW=stride[1], filterHeight=kernel[0],
                          filterWidth=kernel[1], fusedActivationFunction=activation))
        for name, shape, axes, keep, out in [
            ("mean", [2, 7, 7, 40], [1, 2], True, (0.021, 4)),
            ("mean_same_scale", [1, 6, 5, 40], [1, 2], False, (0.04, -7 if dtype == np.int8 else 119)),
            ("mean_last", [5, 9, 13], [-1], False, (0.031, 2)),
        ]:
            n = net(name + suffix)
            x = n.input(shape, dtype, 0.04, -7 if dtype == np.int8 else 119)
            counted = [axis % len(shape) for axis in axes]
            reduced = [1 if i in counted else d for i, d in enumerate(shape) if keep or i not in counted]
            y = n.tensor(reduced, dtype, *out)
            n.output(n.op("MEAN", [x, n.constant(axes)], [y], "Reducer", keepDims=keep))

    # Functions of codes.
    for dtype in (np.int8, np.uint8):
        suffix, low = ("", -128) if dtype == np.int8 else ("_uint8", 0)
        for op, options, fields, scale, out in [
            ("LOGISTIC", None, {}, 0.05, (1 / 256, low)),
            ("TANH", None, {}, 0.03, (1 / 128, low + 128)),
            ("RELU", None, {}, 0.05, (0.031, low)),
            ("RELU6", None, {}, 0.05, (0.0233, low)),
            ("RELU", None, {}, 0.05, (0.371, low + 9)),
            ("RELU_N1_TO_1", None, {}, 0.05, (0.0101, low + 120)),
            ("LEAKY_RELU", "LeakyRelu", {"alpha": 0.13}, 0.05, (0.047, low + 90)),
            ("HARD_SWISH", None, {}, 0.05, (0.037, low + 12)),
        ]:
            n = net(op.lower() + suffix + ("_coarse" if out[0] > 0.3 else ""))
            x = n.input([4, 64], dtype, scale, low + 131)
            n.output(n.op(op, [x], [n.tensor([4, 64], dtype, *out)], options, **fields))
        n = net("softmax" + suffix)
        x = n.input([20, 33], dtype, 0.06, low + 120)
        n.output(n.op("SOFTMAX", [x], [n.tensor([20, 33], dtype, 1 / 256, low)], "Softmax", beta=1.0))
    n = net("hard_swish_small")
    x = n.input([4, 64], scale=0.0131, zero=-5)
    n.output(n.op("HARD_SWISH", [x], [n.tensor([4, 64], scale=0.0131, zero=-70)], None))
    n = net("softmax_sharp")
    x = n.input([40, 100], scale=0.4, zero=3)
    n.output(n.op("SOFTMAX", [x], [n.tensor([40, 100], scale=1 / 256, zero=-128)], "Softmax", beta=0.7))

    # Conversions.
    for name, shape, dtype, a, to, b in [
        ("requantize", [300], np.int8, (0.05, 3), np.int8, (0.0333, -20)),
        ("requantize_finer", [300], np.int8, (0.0113, 3), np.int8, (0.0533, -20)),
        ("requantize_flip", [300], np.uint8, (0.05, 131), np.int8, (0.05, 3)),
        ("requantize_to_uint8", [300], np.int8, (0.05, 3), np.uint8, (0.07, 99)),
        ("requantize_int16", [3000], np.int16, (0.0003, 0), np.int8, (0.07, -9)),
        ("requantize_to_int16", [300], np.int8, (0.05, 3), np.int16, (0.0003, 0)),
        ("quantize", [300], np.float32, (None, 0), np.int8, (0.0371, -9)),
        ("quantize_halves", [300], np.float32, (None, 0), np.uint8, (0.5, 128)),
        ("quantize_int16", [300], np.float32, (None, 0), np.int16, (0.0003, 0)),
        ("dequantize", [300], np.int8, (0.0371, -9), np.float32, (None, 0)),
        ("dequantize_int16", [300], np.int16, (0.000371, 0), np.float32, (None, 0)),
    ]:
        n = net(name)
        values = n.random.integers(-300, 300, 300) / 4 if name == "quantize_halves" else None
        x = n.input(shape, dtype, *a, values=values)
        op = "DEQUANTIZE" if to == np.float32 else "QUANTIZE"
        n.output(n.op(op, [x], [n.tensor(shape, to, *b)], op.title()))

    # Sizes of images.
    for name, dtype, size, align, half in [
        ("resize_bilinear", np.int8, (11, 14), False, False),
        ("resize_bilinear_align", np.int8, (11, 9), True, False),
        ("resize_bilinear_half", np.int8, (3, 14), False, True),
        ("resize_nearest", np.int8, (10, 14), False, False),
        ("resize_nearest_align", np.int8, (8, 9), True, False),
        ("resize_nearest_half", np.uint8, (9, 3), False, True),
    ]:
        n = net(name)
        op, options = ("RESIZE_BILINEAR", "ResizeBilinear") if "bilinear" in name else ("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighbor")
        x = n.input([2, 5, 7, 5], dtype, 0.05, 3)
        y = n.tensor([2, *size, 5], dtype, 0.05, 3)
        n.output(n.op(op, [x, n.constant(size)], [y], options, alignCorners=align, halfPixelCenters=half))

    # Elements that move.
    q = dict(scale=0.05, zero=3)
    n = net("concatenation")
    x, y = n.input([2, 3, 4], **q), n.input([2, 3, 5], **q)
    n.output(n.op("CONCATENATION", [x, y], [n.tensor([2, 3, 9], **q)], "Concatenation", axis=-1))
    n = net("concatenation_uint8")
    x, y = n.input([8, 64], np.uint8, 0.05, 131), n.input([8, 64], np.uint8, 0.07, 99)
    n.output(n.op("CONCATENATION", [x, y], [n.tensor([16, 64], np.uint8, 0.05, 120)], "Concatenation", axis=0))
    n = net("reshape")
    x = n.input([2, 6, 5], **q)
    n.output(n.op("RESHAPE", [x, n.constant([4, 15])], [n.tensor([4, 15], **q)], "Reshape", newShape=[4, 15]))
    n = net("squeeze")
    n.output(n.op("SQUEEZE", [n.input([1, 6, 1, 5], **q)], [n.tensor([6, 5], **q)], "Squeeze", squeezeDims=[0, 2]))
    n = net("expand_dims")
    n.output(n.op("EXPAND_DIMS", [n.input([6, 5], **q), n.constant(1)], [n.tensor([6, 1, 5], **q)], "ExpandDims"))
    n = net("transpose")
    n.output(n.op("TRANSPOSE", [n.input([2, 3, 4, 5], **q), n.constant([0, 3, 1, 2])], [n.tensor([2, 5, 3, 4], **q)], "Transpose"))
    n = net("pad")
    n.output(n.op("PAD", [n.input([1, 3, 4, 5], **q), n.constant([[0, 0], [1, 2], [2, 0], [0, 0]])], [n.tensor([1, 6, 6, 5], **q)], "Pad"))
    n = net("padv2")
    fill = n.tensor([1], data=[-77], **q)
    n.output(n.op("PADV2", [n.input([3, 5], **q), n.constant([[0, 1], [2, 0]]), fill], [n.tensor([4, 7], **q)], "PadV2"))
    for mode, name in enumerate(("reflect", "symmetric")):
        n = net("mirror_pad_" + name)
        pads = n.constant([[1, 2], [3, 0]])
        n.output(n.op("MIRROR_PAD", [n.input([4, 5], **q), pads], [n.tensor([7, 8], **q)], "MirrorPad", mode=mode))
    n = net("slice")
    n.output(n.op("SLICE", [n.input([4, 5, 6], **q), n.constant([1, 0, 2]), n.constant([2, -1, 3])], [n.tensor([2, 5, 3], **q)], "Slice"))
    n = net("strided_slice")
    inputs = [n.input([5, 9, 6], **q), n.constant([1, -1, 2]), n.constant([0, 0, 6]), n.constant([1, -3, 2])]
    n.output(n.op("STRIDED_SLICE", inputs, [n.tensor([3, 2], **q)], "StridedSlice", endMask=2, shrinkAxisMask=1))
    n = net("split")
    outputs = [n.tensor([4, 2], **q) for _ in range(3)]
    n.op("SPLIT", [n.constant(1), n.input([4, 6], **q)], outputs, "Split", numSplits=3)
    n.output(*outputs)
    n = net("split_v")
    outputs = [n.tensor([4, size], **q) for size in (1, 3, 2)]
    n.op("SPLIT_V", [n.input([4, 6], **q), n.constant([1, 3, 2]), n.constant(1)], outputs, "SplitV", numSplits=3)
    n.output(*outputs)
    n = net("pack")
    n.output(n.op("PACK", [n.input([4, 6], **q), n.input([4, 6], **q)], [n.tensor([4, 2, 6], **q)], "Pack", valuesCount=2, axis=1))
    n = net("unpack")
    outputs = [n.tensor([3, 5], **q) for _ in range(4)]
    n.op("UNPACK", [n.input([3, 4, 5], **q)], outputs, "Unpack", num=4, axis=1)
    n.output(*outputs)
    n = net("gather")
    n.output(n.op("GATHER", [n.input([4, 6], **q), n.constant([[3, 0], [1, 3]])], [n.tensor([2, 2, 6], **q)], "Gather", axis=0))
    for op in ("MAXIMUM", "MINIMUM"):
        n = net(op.lower())
        n.output(n.op(op, [n.input([8, 60], **q), n.input([8, 60], **q)], [n.tensor([8, 60], **q)], "MaximumMinimum"))

    # A network as MobileNet v2 is, with random weights.
    n = net("mobilenet")
    x = n.input([1, 24, 24, 3], scale=0.0078, zero=-1)
    size = 12
    x = conv(n, x, [1, 12, 12, 8], [8, 3, 3, 3], stride=(2, 2), activation=RELU6, out=(0.0235, -128))
    channels = 8
    for outputs, stride in ((8, 1), (12, 2), (12, 1), (16, 2)):
        wide = channels * 3
        y = conv(n, x, [1, size, size, wide], [wide, 1, 1, channels], activation=RELU6, out=(0.0235, -128))
        size = -(-size // stride)
        y = conv(n, y, [1, size, size, wide], [1, 3, 3, wide], stride=(stride,) * 2, depthwise=True, activation=RELU6, out=(0.0235, -128))
        y = conv(n, y, [1, size, size, outputs], [outputs, 1, 1, wide], out=(0.05, 4))
        if stride == 1:
            y = n.op("ADD", [x, y], [n.tensor([1, size, size, outputs], scale=0.06, zero=-3)], "Add")
        x, channels = y, outputs
    x = n.op("MEAN", [x, n.constant([1, 2])], [n.tensor([1, channels], scale=0.03, zero=-3)], "Reducer", keepDims=False)
    w = n.tensor([10, channels], scale=0.004, data=n.codes([10, channels]))
    x = n.op("FULLY_CONNECTED", [x, w, n.bias(x, w, 10)], [n.tensor([1, 10], scale=0.1, zero=5)], "FullyConnected")
    n.output(n.op("SOFTMAX", [x], [n.tensor([1, 10], scale=1 / 256, zero=-128)], "Softmax", beta=1.0))
    return made


def main():
    folder, *models = sys.argv[1:]
    for net in networks():
        try:
            net.write(folder)
        except (RuntimeError, ValueError) as error:
            print(f"{net.name}: {error}")
    for path in models:
        without_variables(folder, path)
    sizes = [os.path.getsize(os.path.join(folder, name)) for name in os.listdir(folder)]
    print(f"{len(sizes)} files, {sum(sizes)} bytes")


main()
