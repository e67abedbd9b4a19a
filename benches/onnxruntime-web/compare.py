#!/usr/bin/env python3
"""Runs conformance cases by ONNX Runtime Web (WebGPU) and by lowbit in a headless browser, and prints a table of what they make of them."""

import argparse
import base64
import collections
import json
import re
import pathlib
import shutil
import subprocess
import sys
import tempfile

import models

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def site(folder):
    """The files of the page."""
    for file in (HERE / "www").iterdir():
        shutil.copy(file, folder)
    (folder / "ort").symlink_to(ROOT / "target/onnxruntime-web/node_modules/onnxruntime-web/dist")
    if (HERE / "lowbit/www/pkg").exists():
        (folder / "lowbit").symlink_to(HERE / "lowbit/www/pkg")
    (folder / "models").mkdir()


def visit(folder, query, arguments, limit):
    """The results that the page posts, by number."""
    command = [sys.executable, ROOT / "scripts/browser.py", folder, query, "--cases", arguments.cases, "--limit", str(limit)]
    command += ["--browser", arguments.browser]
    results = {}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            event = json.loads(line)
            if event["kind"] == "result":
                result = json.loads(event["text"])
                results[result["number"]] = result
            elif event["kind"] != "done":
                print(line.strip(), file=sys.stderr)
    return results


def feeds(arrays):
    """Inputs as the page reads them."""
    return {n: {"type": models.TYPES[a.kind][1], "dims": a.shape, "data": base64.b64encode(a.data).decode()} for n, a in arrays.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("cases", nargs="?", default=ROOT / "tests/data/conformance")
    parser.add_argument("--only", default="", help="a regular expression of names")
    parser.add_argument("--browser", default="chromium")
    parser.add_argument("--build", default="ort.webgpu.bundle.min.mjs", help="a file of the npm package; ort.bundle.min.mjs has its older WebGPU backend")
    parser.add_argument("--no-fallback", action="store_true", help="refuse models with a node that isn't on WebGPU")
    parser.add_argument("--list", action="store_true", help="print each case that isn't right on WebGPU alone")
    parser.add_argument("--log", action="store_true", help="print ONNX Runtime's log")
    arguments = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp())
    site(folder)
    cases, jobs, index = [], [], []
    for path in sorted(pathlib.Path(arguments.cases).glob("*.safetensors")):
        case = models.Case(path)
        if case.op not in models.ACTIVATIONS or not re.search(arguments.only, path.name):
            continue
        cases.append(path.name)
        for kind, make in (("node", models.plain), ("QDQ", models.qdq)):
            if made := make(case):
                (folder / f"models/{len(jobs)}.onnx").write_bytes(made[0])
                index.append({"file": f"models/{len(jobs)}.onnx", "feeds": feeds(made[1]), "fallback": not arguments.no_fallback})
                jobs.append((case, kind))
    (folder / "models/index.json").write_text(json.dumps(index))
    (folder / "models/cases.json").write_text(json.dumps(cases))
    results = {}
    while len(results) < len(jobs):
        first = len(results)
        results |= visit(folder, f"first={first}&build={arguments.build}" + ("&log" if arguments.log else ""), arguments, 600)
        if len(results) == first:
            # The page ended without a word.
            results[first] = {"error": "no answer"}
    by_lowbit = visit(folder, "lowbit", arguments, 1000) if (folder / "lowbit").exists() else {}
    shutil.rmtree(folder)
    by_lowbit = {name: by_lowbit.get(number, {"check": "no answer"})["check"] for number, name in enumerate(cases)}

    table = collections.defaultdict(collections.Counter)
    for number, (case, kind) in enumerate(jobs):
        result = results.get(number, {"error": "no answer"})
        row = table[case.op if kind == "node" else "QDQ " + models.FLOAT_OPS[case.op]]
        providers = result.get("providers", {})
        on_cpu = providers.get("CPUExecutionProvider", [])
        on_gpu = providers.get("WebGpuExecutionProvider", providers.get("JsExecutionProvider", []))
        place = "GPU" if not on_cpu else "CPU" if not on_gpu else "both"
        if "error" in result:
            verdict, place, text = "refused", "", " ".join(result["error"].split())
        else:
            got = [(models.NAMES.get(o["type"], o["type"]), o["dims"], base64.b64decode(o["data"])) for o in result["outputs"]]
            verdict, text = models.difference(case, got)
        row["cases"] += 1
        row[f"{place} {verdict}".strip()] += 1
        row["lowbit right"] += by_lowbit[case.path.name] == ""
        if arguments.log:
            print("\n".join(result.get("log", [])))
        if arguments.list and (verdict != "equal" or place == "both" and set(on_cpu) - {"QuantizeLinear", "Transpose"}):
            print(f"{case.name} {kind}: {place} {verdict}, {text} {on_cpu if place == 'both' else ''}")
    if arguments.list:
        for name, check in by_lowbit.items():
            if check:
                print(f"{name} by lowbit: {check}")
    # "Near" are codes that differ by one.
    columns = ["cases", *(f"{place} {verdict}" for place in ("GPU", "both", "CPU") for verdict in ("equal", "near", "wrong")), "refused", "lowbit right"]
    print("| operator | " + " | ".join(columns) + " |")
    print("|---|" + "--:|" * len(columns))
    for name in sorted(table):
        print(f"| {name} | " + " | ".join(str(table[name][column] or "") for column in columns) + " |")


if __name__ == "__main__":
    main()
