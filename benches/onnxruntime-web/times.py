#!/usr/bin/env python3
"""Takes times of ONNX Runtime Web and of lowbit in one page of a headless Chromium, and prints them as a table: milliseconds, medians.

    times.py [--only TEXT]"""

import argparse
import base64
import copy
import json
import pathlib
import shutil
import tempfile

import numpy as np

import models
import products
from compare import feeds, site, visit

# What is timed beside lowbit: the label, how the model is made of the case, its provider, and whether inputs and outputs stay on the device.
QLINEAR = [
    ("QDQ", lambda case: models.qdq(case), "webgpu", False),
    ("QDQ, float weights", lambda case: models.qdq(case, folded=True), "webgpu", False),
    ("QDQ by CPU", lambda case: models.qdq(case), "wasm", False),
    ("device, not quantized", lambda case: models.qdq(case, quantized=False), "webgpu", True),
    ("device, not quantized, float weights", lambda case: models.qdq(case, quantized=False, folded=True), "webgpu", True),
]
NBITS = [
    ("node", models.plain, "webgpu", False),
    ("node by CPU", models.plain, "wasm", False),
    ("device, node", models.plain, "webgpu", True),
]


def real(case):
    """The case without its QuantizeLinear."""
    case = copy.copy(case)
    (name, output), *_ = case.outputs
    case.outputs = [(name, models.Array("f32", output.shape, b""))]
    case.tolerances = [{"kind": "float", "atol": 0.0, "rtol": 2.0**-22, "ref": "real"}]
    return case


def verdict(case, label, answer):
    """Is an answer right?"""
    expected = real(case) if "not quantized" in label else case
    got = [(models.NAMES[answer["type"]], answer["dims"], base64.b64decode(answer["data"]))]
    word, text = models.difference(expected, got)
    if word == "wrong" and "y_int8_exact" in case.aux:
        # Activations may be quantized in other blocks than lowbit's; the errors are of one size then.
        exact, own = case.aux["y_float_exact"].values(), case.aux["y_int8_exact"].values()
        error, noise = (float(np.sqrt(np.sum((y - exact) ** 2) / np.sum(exact**2))) for y in (np.frombuffer(got[0][2], "<f4"), own))
        text = f"relative error {error:.4f}, by int8 activations in blocks of 32 {noise:.4f}"
        word = "int8" if error < 2 * noise else word
    return "right" if word == "equal" else f"{word}, {text}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="a part of a product's name")
    parser.add_argument("--browser", default="chromium")
    arguments = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp())
    site(folder)
    arguments.cases = folder / "models"
    jobs = [(title, path) for title, path in products.all_products(folder / "models") if arguments.only in path.name]
    index = []
    for _, path in jobs:
        case, made = models.Case(path), []
        for label, make, provider, device in NBITS if case.op == "MatMulNBits" else QLINEAR:
            model, inputs = make(case)
            file = f"models/{path.stem}-{len(made)}.onnx"
            (folder / file).write_bytes(model)
            made.append({"label": label, "file": file, "feeds": feeds(inputs), "provider": provider, "device": device})
        index.append({"file": f"models/{path.name}", "models": made})
    (folder / "models/index.json").write_text(json.dumps(index))
    results = visit(folder, "times", arguments, 3000)
    for number, (title, path) in enumerate(jobs):
        result = results.get(number)
        if result is None:
            print(f"\n{title}: no answer")
            continue
        case = models.Case(path)
        print(f"\n{title}: lowbit {result['check'] or 'right'}, {result['labels']}")
        for label, times in result["ms"].items():
            answer = result["answers"].get(label)
            right = verdict(case, label, answer) if answer else ""
            least, most = times["least"], times["most"]
            print(f"| {label} | {times['median']:.3f} | {least:.3f} to {most:.3f} | {right} | {result['providers'].get(label, '')} |")
        for label, error in result["errors"].items():
            print(f"| {label} | {error} |")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
