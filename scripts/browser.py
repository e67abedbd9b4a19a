#!/usr/bin/env python3
"""Opens pages in a headless browser, one after the other, and prints the events that they post, as JSON lines.

    scripts/browser.py FOLDER QUERY… [--cases FOLDER] [--browser chromium|firefox] [--limit SECONDS]

Serves FOLDER on 127.0.0.1; `/cases` lists conformance cases and `/case/NAME` is one. A page posts {"kind", "text"} to `/event`, and "done"
at its end. Exit status 1 if a page doesn't end in time or posts a failure. Standard library only."""

import argparse
import http.server
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

CHROMIUM = [
    "--headless", "--no-sandbox", "--disable-gpu-sandbox", "--no-first-run", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-dev-shm-usage", "--disable-extensions", "--disable-quic",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader",
]
# Firefox hides WebGPU and suspended WebAssembly behind preferences on some systems.
FIREFOX = """user_pref("dom.webgpu.enabled", true);
user_pref("gfx.webgpu.ignore-blocklist", true);
user_pref("javascript.options.wasm_js_promise_integration", true);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("app.update.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
"""


def find(names):
    for name in names:
        if shutil.which(name):
            return name
    sys.exit(f"none of {', '.join(names)} is installed")


class Site:
    """The folder on a port of 127.0.0.1, and the events that its pages post."""

    def __init__(self, folder, cases):
        site = self
        self.events, self.done = [], threading.Event()

        class Handler(http.server.SimpleHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            extensions_map = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".wasm": "application/wasm", ".js": "text/javascript"}

            def __init__(self, *arguments, **options):
                super().__init__(*arguments, directory=folder, **options)

            def log_message(self, *_):
                pass

            def answer(self, body, kind):
                self.send_response(200)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self):
                path = self.path.split("?")[0]
                if path == "/cases":
                    names = sorted(file.name for file in pathlib.Path(cases).glob("*.safetensors"))
                    return self.answer(json.dumps(names).encode(), "application/json")
                if path.startswith("/case/"):
                    return self.answer((pathlib.Path(cases) / pathlib.Path(path).name).read_bytes(), "application/octet-stream")
                return super().do_GET()

            def do_POST(self):
                event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                self.answer(b"", "text/plain")
                site.add(event)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def add(self, event):
        print(json.dumps(event), flush=True)
        self.events.append(event)
        if event["kind"] == "done":
            self.done.set()

    def address(self, query):
        return f"http://127.0.0.1:{self.server.server_address[1]}/?{query}"


def memory(group):
    """Bytes that the processes of a group hold alone or share, by the system's proportional count."""
    total = 0
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(process.name)) == group:
                rollup = (process / "smaps_rollup").read_text()
                total += 1024 * int(next(line for line in rollup.splitlines() if line.startswith("Pss:")).split()[1])
        except (OSError, StopIteration):
            pass
    return total


def visit(site, browser, query, limit):
    """True if the page ended without a failure."""
    profile = tempfile.mkdtemp()
    if "firefox" in browser:
        (pathlib.Path(profile) / "user.js").write_text(FIREFOX)
        command = [browser, "--headless", "--no-remote", "--profile", profile, site.address(query)]
    else:
        command = [browser, *CHROMIUM, "--enable-logging=stderr", f"--user-data-dir={profile}", site.address(query)]
    first, start, most = len(site.events), time.time(), 0
    site.done.clear()
    with open(profile + ".log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        ended = False
        while not ended and time.time() - start < limit and process.poll() is None:
            ended = site.done.wait(1)
            most = max(most, memory(process.pid))
        for end in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, end)
                process.wait(10)
                break
            except (ProcessLookupError, subprocess.TimeoutExpired):
                pass
    if not ended:
        sys.stderr.write(open(profile + ".log", errors="replace").read()[-3000:])
    shutil.rmtree(profile, ignore_errors=True)
    os.unlink(profile + ".log")
    failures = [event for event in site.events[first:] if event["kind"] in ("failure", "panic")]
    verdict = {"kind": "page", "query": query, "ended": ended, "failures": len(failures), "seconds": round(time.time() - start, 1), "most_mib": most >> 20}
    print(json.dumps(verdict), flush=True)
    return ended and not failures


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder")
    parser.add_argument("queries", nargs="+")
    parser.add_argument("--cases", default="tests/data/conformance")
    parser.add_argument("--browser", choices=["chromium", "firefox"], default="chromium")
    parser.add_argument("--limit", type=float, default=480)
    arguments = parser.parse_args()
    names = {"chromium": ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"], "firefox": ["firefox-esr", "firefox"]}
    site = Site(arguments.folder, arguments.cases)
    browser = find(names[arguments.browser])
    passed = [visit(site, browser, query, arguments.limit) for query in arguments.queries]
    sys.exit(not all(passed))


if __name__ == "__main__":
    main()
