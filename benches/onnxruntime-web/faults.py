#!/usr/bin/env python3
"""Two faults of ONNX Runtime Web 1.30 on WebGPU in small models: a DequantizeLinear gets the shader of another size, and a float Conv of two
groups with five channels each is wrong in the first channel of the second group."""

import argparse
import base64
import json
import pathlib
import shutil
import tempfile

import numpy as np

import models
from compare import ROOT, feeds, site, visit
from models import Array, Builder


def dequantize(sizes):
    b, outputs, expected = Builder(), [], []
    for i, size in enumerate(sizes):
        x = np.random.default_rng(size).integers(0, 256, size, "u1")
        b.node("DequantizeLinear", [b.feed(Array.of("u8", x), f"x{i}"), b.constant(Array.of("f32", 0.5), f"s{i}"), b.constant(Array.of("u8", 3), f"z{i}")], [f"y{i}"])
        outputs.append((f"y{i}", Array("f32", [size], b"")))
        expected.append((x.astype("f4") - 3) * np.float32(0.5))
    return b, outputs, expected


def conv(groups, channels, size=8):
    random = np.random.default_rng(channels)
    x, w = random.integers(-8, 8, (1, 3 * groups, size, size)).astype("f4"), random.integers(-8, 8, (groups * channels, 3, 3, 3)).astype("f4")
    padded = np.pad(x[0], ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2)).reshape(groups, 3, size, size, 3, 3)
    y = np.einsum("gcyxij,gocij->goyx", windows, w.reshape(groups, channels, 3, 3, 3)).reshape(1, -1, size, size)
    b = Builder()
    b.node("Conv", [b.feed(Array.of("f32", x), "x"), b.constant(Array.of("f32", w), "w")], ["y"], group=groups, pads=[1, 1, 1, 1])
    return b, [("y", Array("f32", y.shape, b""))], [y]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--browser", default="chromium")
    arguments = parser.parse_args()
    arguments.cases = ROOT / "tests/data/conformance"
    made = {f"DequantizeLinear of {sizes} elements in one model": dequantize(sizes) for sizes in ([256], [97], [97, 256], [256, 97], [256, 128])}
    made |= {f"float Conv, {groups} groups of {channels} channels": conv(groups, channels) for groups, channels in ((1, 5), (2, 4), (2, 5))}
    folder = pathlib.Path(tempfile.mkdtemp())
    site(folder)
    index = []
    for number, (b, outputs, _) in enumerate(made.values()):
        (folder / f"models/{number}.onnx").write_bytes(b.model(outputs, 21).SerializeToString())
        index.append({"file": f"models/{number}.onnx", "feeds": feeds(b.feeds), "fallback": False})
    (folder / "models/index.json").write_text(json.dumps(index))
    results = visit(folder, "first=0", arguments, 300)
    shutil.rmtree(folder)
    for number, (title, (_, _, expected)) in enumerate(made.items()):
        result = results[number]
        if "error" in result:
            print(f"{title}: {result['error']}")
            continue
        got = [np.frombuffer(base64.b64decode(output["data"]), "<f4") for output in result["outputs"]]
        print(f"{title}: wrong " + ", ".join(f"{np.sum(g != e.reshape(-1))} of {e.size}" for g, e in zip(got, expected, strict=True)))


if __name__ == "__main__":
    main()
