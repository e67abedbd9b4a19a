"""Quantizes small layers with the packages that define checkpoints' layouts; `scripts/quantized-layers` runs it and tells how.

Writes FOLDER/NAME.safetensors: the arrays of each layer as the package saves them, `LAYER.expected`, the float32 numbers of the package's own
dequantization, and in the metadata `layers`, a JSON object of what a reader must be told about each layer. Scales in float16 or
bfloat16 are widened to float32 before the package dequantizes, so that its arithmetic is float32's.
"""

import importlib.metadata
import json
import sys
from pathlib import Path

import numpy as np

SEED = 23


class Writer:
    """Collects layers of a package."""

    def __init__(self, package):
        self.package, self.arrays, self.layers = package, {}, {}

    def layer(self, name, arrays, expected, about):
        for key, array in arrays.items():
            self.arrays[f"{name}.{key}"] = array
        self.arrays[f"{name}.expected"] = expected
        self.layers[name] = about

    def save(self, folder, save_file, stem=None):
        metadata = {"layers": json.dumps(self.layers), "oracle": f"{self.package} {importlib.metadata.version(self.package)}"}
        path = folder / f"{stem or self.package}.safetensors"
        save_file(self.arrays, path, metadata=metadata)
        print(path, len(self.layers), "layers", path.stat().st_size, "bytes")


def extreme(torch, shape, low=-30, high=30):
    """Random magnitudes of many orders."""
    return torch.randn(shape) * 10.0 ** torch.randint(low, high, shape)


def compressed_tensors(folder):
    import torch
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.compressors.nvfp4.helpers import unpack_fp4_from_uint8
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from compressed_tensors.quantization.lifecycle.forward import dequantize
    from safetensors.torch import save_file

    torch.manual_seed(SEED)
    out = Writer("compressed-tensors")

    def add(name, fmt, shape, weights, inputs=None, dtype=torch.float32, scale=None, zero_point=None, more=None, span=8.0):
        weights = dict(weights)
        scheme = QuantizationScheme(
            targets=["Linear"],
            weights=QuantizationArgs(**weights),
            input_activations=QuantizationArgs(**inputs) if inputs else None,
        )
        compressor = BaseCompressor.get_value_from_registry(fmt)
        state = {"weight_scale": scale.to(dtype)}
        # Numbers over the range of the codes.
        n, k = shape
        rows, columns = scale.shape if scale.ndim == 2 else (1, 1)
        if "block_structure" in weights:
            b, g = weights["block_structure"]
            spread = scale.repeat_interleave(b, 0).repeat_interleave(g, 1)[:n, :k]
        else:
            spread = scale.reshape(rows, columns).repeat_interleave(-(-k // columns), 1)[:, :k].expand(n, k)
        glob = (more or {}).get("weight_global_scale")
        if glob is not None:
            spread = spread / glob
        state["weight"] = torch.randn(shape) * span / 2 * spread.to(dtype).float()
        if zero_point is not None:
            state["weight_zero_point"] = zero_point
        state.update(more or {})
        compressed = compressor.compress(state, scheme)
        wide = {
            key: value.float() if key == "weight_scale" and value.dtype in (torch.float16, torch.bfloat16) else value
            for key, value in compressed.items()
        }
        if fmt == "nvfp4-pack-quantized":
            # The compressor unpacks to bfloat16.
            codes = unpack_fp4_from_uint8(wide["weight_packed"], n, k, torch.float32)
            expected = dequantize(codes, wide["weight_scale"].float(), args=scheme.weights, global_scale=glob)
        else:
            expected = compressor.decompress(wide, scheme)["weight"].float().contiguous()
        about = {"format": fmt, "weights": json.loads(scheme.weights.model_dump_json())}
        if inputs:
            about["input_activations"] = json.loads(scheme.input_activations.model_dump_json())
        out.layer(name, {key: value.contiguous() for key, value in compressed.items()}, expected, about)

    for bits in range(1, 9):
        dtype = [torch.float32, torch.float16, torch.bfloat16][bits % 3]
        half = 2 ** (bits - 1)
        orders = (-2, 2) if dtype == torch.float16 else (-30, 30)
        add(f"group{bits}", "pack-quantized", (5, 192), {"num_bits": bits, "strategy": "group", "group_size": 32}, dtype=dtype,
            scale=extreme(torch, (5, 6), *orders).abs() + 1e-4 * (dtype == torch.float16), span=half)
        add(f"channel{bits}", "pack-quantized", (7, 61), {"num_bits": bits, "strategy": "channel"}, dtype=dtype,
            scale=torch.rand(7, 1) + 0.01, span=half)
        zeros = torch.randint(-half, half, (37, 2), dtype=torch.int8)
        add(f"zeros{bits}", "pack-quantized", (37, 96), {"num_bits": bits, "strategy": "group", "group_size": 48, "symmetric": False},
            dtype=dtype, scale=torch.rand(37, 2) + 0.01, zero_point=zeros, span=half)
    int8 = {"num_bits": 8, "strategy": "channel"}
    token = {"num_bits": 8, "strategy": "token", "dynamic": True}
    constant = {"num_bits": 8, "strategy": "tensor", "symmetric": False}
    static = {"input_scale": torch.tensor([0.037]), "input_zero_point": torch.tensor([-7], dtype=torch.int8)}
    add("w8a8", "int-quantized", (9, 70), int8, token, torch.bfloat16, torch.rand(9, 1), span=128)
    add("w8a8-static", "int-quantized", (6, 33), int8, constant, torch.float16, torch.rand(6, 1), span=128, more=static)
    add("w8a8-tensor", "int-quantized", (4, 40), {"num_bits": 8, "strategy": "tensor"}, token, torch.float32, torch.tensor([3e-5]), span=128)
    fp8 = {"num_bits": 8, "type": "float"}
    eight = {**fp8, "strategy": "token", "dynamic": True}
    add("fp8-tensor", "float-quantized", (5, 40), {**fp8, "strategy": "tensor"}, {**fp8, "strategy": "tensor"}, torch.float32,
        torch.tensor([0.0123]), span=448, more={"input_scale": torch.tensor([0.25])})
    add("fp8-channel", "float-quantized", (11, 35), {**fp8, "strategy": "channel"}, eight, torch.bfloat16,
        extreme(torch, (11, 1)).abs(), span=448)
    add("fp8-block", "float-quantized", (130, 150), {**fp8, "strategy": "block", "block_structure": [128, 128]},
        {**fp8, "strategy": "group", "group_size": 128, "dynamic": True}, torch.float32, torch.rand(2, 2), span=448)
    add("mxfp8", "mxfp8-quantized", (3, 96), {**fp8, "strategy": "group", "group_size": 32, "scale_dtype": "torch.uint8"},
        scale=2.0 ** torch.randint(-120, 120, (3, 3)), span=448)
    fp4 = {"num_bits": 4, "type": "float"}
    add("mxfp4", "mxfp4-pack-quantized", (5, 64), {**fp4, "strategy": "group", "group_size": 32, "scale_dtype": "torch.uint8"},
        scale=2.0 ** torch.randint(-120, 120, (5, 2)), span=6)
    for name, divisor in [("nvfp4", 64.0), ("nvfp4-odd", 345.67)]:
        add(name, "nvfp4-pack-quantized", (7, 80), {**fp4, "strategy": "tensor_group", "group_size": 16},
            {**fp4, "strategy": "tensor_group", "group_size": 16, "dynamic": "local"},
            scale=(torch.rand(7, 5) * 448).to(torch.float8_e4m3fn).float(), span=6,
            more={"weight_global_scale": torch.tensor([divisor]), "input_global_scale": torch.tensor([7.0])})
    out.save(folder, save_file)


def compressed_tensors_old(folder):
    """Version 0.9: whole codes in words, and an index of groups."""
    import torch
    from compressed_tensors.compressors.quantized_compressors.pack_quantized import pack_to_int32, unpack_from_int32
    from compressed_tensors.quantization import QuantizationArgs
    from compressed_tensors.quantization.lifecycle.forward import dequantize
    from safetensors.torch import save_file

    torch.manual_seed(SEED)
    out = Writer("compressed-tensors")
    for bits in range(1, 9):
        n, k, group, half = 5, 320, 64, 2 ** (bits - 1)
        codes = torch.randint(-half, half, (n, k), dtype=torch.int8)
        g_idx = (torch.arange(k) // group)[torch.randperm(k)].to(torch.int32)
        scale = torch.rand(n, k // group) + 0.01
        args = QuantizationArgs(num_bits=bits, strategy="group", group_size=group)
        # The package's own act-order sorts columns, dequantizes and puts them back.
        packed = pack_to_int32(codes, bits)
        assert torch.equal(unpack_from_int32(packed, bits, codes.shape), codes)
        expected = dequantize(x_q=codes, scale=scale, zero_point=torch.zeros_like(scale), args=args, g_idx=g_idx)
        arrays = {"weight_packed": packed, "weight_scale": scale, "weight_shape": torch.tensor([n, k]), "weight_g_idx": g_idx}
        about = {"format": "pack-quantized", "weights": {"num_bits": bits, "type": "int", "strategy": "group", "group_size": group}}
        out.layer(f"order{bits}", arrays, expected, about)
    out.save(folder, save_file, "compressed-tensors-0.9")


def modelopt(folder):
    import torch
    from modelopt.torch.quantization.qtensor import FP8QTensor, NVFP4QTensor
    from safetensors.torch import save_file

    torch.manual_seed(SEED)
    out = Writer("nvidia-modelopt")
    for name, shape, factor in [("nvfp4", (5, 48), 0.0137), ("nvfp4-large", (3, 64), 2.5e30)]:
        weight = torch.randn(shape) * factor * 100
        factor = torch.tensor(factor)
        quantized, scale, double = NVFP4QTensor.quantize(weight, 16, weights_scaling_factor_2=factor)
        expected = quantized.dequantize(dtype=torch.float32, scale=scale, double_scale=double, block_sizes={-1: 16})
        arrays = {"weight": quantized._quantized_data, "weight_scale": scale.reshape(shape[0], -1), "weight_scale_2": double}
        out.layer(name, arrays, expected.contiguous(), {"quant_algo": "NVFP4"})
    for name, scale in [("fp8", torch.tensor(0.0037)), ("fp8-rows", torch.rand(6) + 0.01)]:
        weight = torch.randn(6, 37) * 50 * scale.reshape(-1, 1)
        data = (weight / scale.reshape(-1, 1)).clamp(-448, 448).to(torch.float8_e4m3fn)
        expected = FP8QTensor(weight.shape, torch.float32, data).dequantize(dtype=torch.float32, scale=scale.reshape(-1, 1))
        out.layer(name, {"weight": data, "weight_scale": scale, "input_scale": torch.tensor(0.5)}, expected.contiguous(), {"quant_algo": "FP8"})
    out.save(folder, save_file)


def mlx(folder):
    import mlx.core as mx

    out = Writer("mlx")
    random = np.random.default_rng(SEED)
    stored, wide = {}, {}
    for bits in [2, 3, 4, 5, 6, 8]:
        for group in [32, 64, 128]:
            dtype = [mx.float32, mx.float16, mx.bfloat16][(bits + group // 32) % 3]
            n, k = [(3, 256), (5, 128), (2, 384)][bits % 3]
            # Rows of many orders of magnitude.
            orders = 10.0 ** random.integers(-2, 2, (n, 1)) if dtype == mx.float16 else 10.0 ** random.integers(-25, 25, (n, 1))
            real = mx.array((random.standard_normal((n, k)) * orders).astype(np.float32)).astype(dtype)
            weight, scales, biases = mx.quantize(real, group_size=group, bits=bits)
            expected = mx.dequantize(weight, scales.astype(mx.float32), biases.astype(mx.float32), group_size=group, bits=bits)
            out.layer(f"affine{bits}-{group}", {"weight": weight, "scales": scales, "biases": biases}, expected,
                      {"mode": "affine", "bits": bits, "group_size": group})
    for mode in ["mxfp4", "mxfp8", "nvfp4"]:
        real = mx.array((random.standard_normal((7, 96)) * (1.0 if mode == "nvfp4" else 1e-12)).astype(np.float32))
        weight, scales = mx.quantize(real, mode=mode)[:2]
        expected = mx.dequantize(weight, scales, mode=mode, dtype=mx.float32)
        out.layer(mode, {"weight": weight, "scales": scales}, expected, {"mode": mode})
    out.save(folder, lambda arrays, path, metadata: mx.save_safetensors(str(path), arrays, metadata))


def hqq(folder):
    import torch
    from hqq.core.quantize import Quantizer
    from hqq.core.utils import encode_safetensor_type
    from safetensors.torch import save_file

    torch.manual_seed(SEED)
    out = Writer("hqq")
    for bits in [1, 2, 3, 4, 8]:
        for axis in [1, 0]:
            n, k, group = (16, 96, 32) if axis == 1 else (64, 20, 16)
            real = torch.randn(n, k) * 10.0 ** torch.randint(-4, 4, (n, 1))
            dtype = [torch.float32, torch.float16, torch.bfloat16][bits % 3]
            codes, meta = Quantizer.quantize(real, nbits=bits, group_size=group, axis=axis, device="cpu", optimize=False,
                                             compute_dtype=torch.float32)
            meta["scale"], meta["zero"] = meta["scale"].to(dtype), meta["zero"].to(dtype)
            wide = {**meta, "scale": meta["scale"].float(), "zero": meta["zero"].float(), "compute_dtype": torch.float32}
            expected = Quantizer.dequantize(codes, wide).contiguous()
            arrays = {"W_q": codes, **{key: encode_safetensor_type(value) for key, value in meta.items() if value is not None}}
            out.layer(f"bits{bits}-axis{axis}", arrays, expected, {"shape": [n, k]})
    out.save(folder, save_file)


def quanto(folder):
    import torch
    from optimum.quanto import MaxOptimizer, qfloat8_e4m3fn, qfloat8_e5m2, qint2, qint4, qint8, quantize_weight
    from optimum.quanto import AbsmaxOptimizer
    from safetensors.torch import save_file

    torch.manual_seed(SEED)
    out = Writer("optimum-quanto")

    def save(name, weight, shape):
        arrays = {}
        weight.save_to_state_dict(arrays, "weight.", False)
        # f16 and bf16 scales as float32.
        wide = {key: value.float() if value.dtype in (torch.float16, torch.bfloat16) else value for key, value in arrays.items()}
        if "weight._shift" in arrays:
            again = type(weight).load_from_state_dict(dict(wide), "weight.", weight.qtype, weight.axis, weight._group_size, weight.size(), weight.stride(), [])
        else:
            again = type(weight).load_from_state_dict(dict(wide), "weight.", weight.qtype, weight.axis, weight.size(), weight.stride(), None, [])
        out.layer(name, arrays, again.dequantize().float().contiguous(), {"shape": list(shape)})

    for qtype in [qint2, qint4]:
        for dtype, group in [(torch.float32, 32), (torch.float16, 32), (torch.bfloat16, 32), (torch.float32, None)]:
            n, k = 6, 64
            real = (torch.randn(n, k) * 10.0 ** torch.randint(-3, 3, (n, 1))).to(dtype)
            scale, shift = MaxOptimizer()(real, qtype, 0, group)
            weight = quantize_weight(real, qtype, 0, scale, shift, group, optimized=False)
            save(f"{qtype.name}-{str(dtype).split('.')[1]}-{group}", weight, (n, k))
    for qtype in [qint8, qfloat8_e4m3fn, qfloat8_e5m2]:
        n, k = 5, 37
        real = (torch.randn(n, k) * 10.0 ** torch.randint(-3, 3, (n, 1))).to(torch.bfloat16)
        scale = AbsmaxOptimizer()(real, qtype, 0)
        weight = quantize_weight(real, qtype, 0, scale, optimized=False)
        save(qtype.name, weight, (n, k))
    out.save(folder, save_file)


def gptqmodel(folder):
    """GPTQModel's own packer, and its conversion from v2 to v1 with zero points from 0 up."""
    import torch
    from gptqmodel.nn_modules.qlinear.torch import TorchLinear
    from gptqmodel.quantization import FORMAT
    from gptqmodel.utils.model import convert_gptq_v2_to_v1_format_module
    from gptqmodel.quantization import QuantizeConfig
    from safetensors.torch import save_file

    torch.manual_seed(SEED)
    out = Writer("gptqmodel")
    for bits in range(2, 9):
        for form in ["gptq", "gptq_v2", "gptq_p"]:
            if (bits in (5, 6, 7)) != (form == "gptq_p") and not (form == "gptq_p" and bits in (2, 3, 4, 8)):
                continue
            n, k, group = 32, 64, 32
            module = TorchLinear(bits=bits, group_size=group, sym=False, desc_act=False, in_features=k, out_features=n, bias=False,
                                 format=FORMAT(form), register_buffers=True)
            zeros = torch.randint(0, 2**bits, (n, k // group))
            zeros[:4] = torch.tensor([[0], [2**bits - 1], [0], [0]])
            codes = torch.randint(0, 2**bits, (n, k))
            scales = (torch.rand(n, k // group) + 0.01).half().float()
            wide = zeros.repeat_interleave(group, 1)
            real = (codes - wide) * scales.repeat_interleave(group, 1)
            linear = torch.nn.Linear(k, n, bias=False)
            linear.weight.data = real
            g_idx = torch.arange(k, dtype=torch.int32) // group
            module.pack_original(linear, scales, zeros.float(), g_idx)
            module.qzero_format(format=2)
            if form == "gptq":
                convert_gptq_v2_to_v1_format_module(module, QuantizeConfig(bits=bits))
            arrays = {"qweight": module.qweight, "qzeros": module.qzeros, "scales": module.scales, "g_idx": module.g_idx}
            out.layer(f"{form}-{bits}", {key: value.contiguous() for key, value in arrays.items()}, real.contiguous(),
                      {"bits": bits, "group_size": group, "checkpoint_format": form})
    out.save(folder, save_file)


def auto_round(folder):
    """AutoRound's packers with zero points as they are, and less one."""
    import torch
    from auto_round_extension.torch import qlinear_torch, qlinear_torch_zp
    from safetensors.torch import save_file

    torch.manual_seed(SEED)
    out = Writer("auto-round")
    for bits in [2, 3, 4, 5, 6, 7, 8]:
        for form, module_of in [("auto_round:gptqmodel", qlinear_torch), ("auto_round:auto_gptq", qlinear_torch_zp)]:
            n, k, group = 32, 64, 32
            module = module_of.QuantLinear(bits, group, k, n, False)
            # Less one, a zero point of 0 can't be stored.
            zeros = torch.randint(1 if form.endswith("auto_gptq") else 0, 2**bits, (n, k // group))
            codes = torch.randint(0, 2**bits, (n, k))
            scales = (torch.rand(n, k // group) + 0.01).half().float()
            real = (codes - zeros.repeat_interleave(group, 1)) * scales.repeat_interleave(group, 1)
            linear = torch.nn.Linear(k, n, bias=False)
            linear.weight.data = real
            module.device = "cpu"  # its packer takes it from the module, which has none
            module.pack(linear, scales, zeros.float(), None, "cpu")
            arrays = {"qweight": module.qweight, "qzeros": module.qzeros, "scales": module.scales}
            out.layer(f"{form.split(':')[1]}-{bits}", {key: value.contiguous() for key, value in arrays.items()}, real.contiguous(),
                      {"bits": bits, "group_size": group, "packing_format": form})
    out.save(folder, save_file)


def marlin(folder):
    """The definition of IST-DASLab/marlin in numpy, as its package needs CUDA."""
    from safetensors.numpy import save_file

    random = np.random.default_rng(SEED)
    perm = []
    for i in range(32):
        rows = [2 * (i % 4), 2 * (i % 4) + 1, 2 * (i % 4 + 4), 2 * (i % 4 + 4) + 1]
        lane = [16 * row + i // 4 + 8 * block for block in (0, 1) for row in rows]
        perm.extend(p + 256 * j for j in range(4) for p in lane)
    perm = np.array(perm).reshape(-1, 8)[:, [0, 2, 4, 6, 1, 3, 5, 7]].ravel()
    grouped = [i + 8 * j for i in range(8) for j in range(8)]
    single = [2 * i + j for i in range(4) for j in [0, 1, 8, 9, 16, 17, 24, 25]]
    out = Writer("numpy")
    for name, (n, k, group) in {"groups": (64, 96, 32), "row": (128, 32, 32)}.items():
        codes = random.integers(0, 16, (k, n), dtype=np.uint32)
        scales = (random.random((k // group, n)) + 0.01).astype(np.float16)
        tiles = codes.reshape(k // 16, 16, n // 16, 16).transpose(0, 2, 1, 3).reshape(-1, 1024)[:, perm].reshape(k // 16, -1)
        packed = np.zeros((k // 16, 2 * n), np.uint32)
        for i in range(8):
            packed |= tiles[:, i::8] << np.uint32(4 * i)
        order = grouped if group < k else single
        arrays = {"B": packed.view(np.int32), "s": scales.reshape(-1, len(order))[:, order].reshape(-1, n).copy()}
        real = (codes.astype(np.float32) - 8) * scales.astype(np.float32).repeat(group, 0)
        out.layer(name, arrays, np.ascontiguousarray(real.T), {"checkpoint_format": "marlin"})
    out.save(folder, save_file, "marlin")


if __name__ == "__main__":
    for package in sys.argv[2:]:
        globals()[package](Path(sys.argv[1]))
