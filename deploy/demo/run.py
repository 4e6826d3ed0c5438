"""`make demo`: makes an hour of office traffic, reads it, and stays with the dashboard.

Without a terminal (or with CI=true) it does the same, checks that the dashboard shows the rows, and ends.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / ".demo"
STORE = f"chdb://{DEMO / 'store'}"
AISCOPE = [sys.executable, "-m", "sensor.cli"]


def free_port() -> int:
    """8501 as Streamlit's users know it, or any other when that is taken."""
    for port in (8501, 0):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise RuntimeError("no free port on 127.0.0.1")


def await_page(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=2):  # noqa: S310 - our own loopback
                return
        except OSError:
            time.sleep(0.2)
    raise SystemExit("the dashboard did not come up")


def main() -> int:
    shutil.rmtree(DEMO, ignore_errors=True)
    DEMO.mkdir()
    capture = DEMO / "office.pcap"
    print("An hour in a small office, made from real TLS, QUIC and HTTP:", flush=True)
    from office import main as office  # it takes a while, in which somebody may have seen enough

    office([str(capture)])
    people, policy = capture.with_suffix(".csv"), ROOT / "deploy/policy.example.yaml"
    read = [*AISCOPE, "read", capture, "--inventory", people, "--policy", policy]
    subprocess.run([*read, "--store", STORE], check=True)
    print("\nThe dashboard's pages on this store:", flush=True)
    subprocess.run([*AISCOPE, "dashboard", "--check", "--store", STORE], check=True)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    serve = [*AISCOPE, "dashboard", "--store", STORE, "--listen", f"127.0.0.1:{port}"]
    with (DEMO / "dashboard.log").open("wb") as log:
        server = subprocess.Popen(serve, stdout=log, stderr=log)
    try:
        await_page(url, server)
        if sys.stdout.isatty() and os.environ.get("CI") != "true":
            print(f"\nDashboard: {url}   (Ctrl-C ends it)", flush=True)
            return server.wait()
        print(f"\nDashboard served at {url} and ended: no terminal to stay with.")
        return 0
    except KeyboardInterrupt:
        return 0
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
