"""Fuzzes what reads hostile bytes, each target for SECONDS (60): the wire parsers with atheris, and with cargo
and a C++ compiler the native engine's `feed` with libFuzzer; what makes one fail is in .fuzz/. Then the property tests
with new examples, once through and again while SECONDS last. Ends with 1 when something was found.

    SECONDS=600 python tests/fuzz/run.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
OUT = ROOT / ".fuzz"
CRATE = ROOT / "sensor" / "packets" / "core" / "fuzz"
SANITIZER = (
    "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 "
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table "
    "-Cllvm-args=-sanitizer-coverage-trace-compares"
)
BUILD_SECONDS = 900
PASS_SECONDS = 1800


def limits(seconds: int) -> list[str]:
    return [f"-max_total_time={seconds}", "-rss_limit_mb=1024", "-timeout=10", f"-artifact_prefix={OUT}/"]


def folder(name: str) -> Path:
    path = OUT / name
    path.mkdir(parents=True, exist_ok=True)
    return path


def run(command: list[str | Path], seconds: int, **environment: str) -> bool:
    """Whether the command ended well within its time."""
    print(*command, flush=True)
    try:
        done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        print(f"not over after {seconds} s", flush=True)
        return False
    return done.returncode == 0


def wire(seconds: int) -> bool:
    command = [sys.executable, "tests/fuzz/fuzz_wire.py", folder("wire"), *limits(seconds), "-max_len=4096"]
    return run(command, seconds + 60)


def feed(seconds: int) -> bool:
    seeds, found = folder("feed-seeds"), folder("feed")
    # With a target of its own, the flags are not for build scripts and macros.
    version = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True, timeout=60).stdout
    host = next(line.removeprefix("host: ") for line in version.splitlines() if line.startswith("host: "))
    manifest = CRATE / "Cargo.toml"
    build = ["cargo", "build", "--quiet", "--release", "--manifest-path", manifest, "--target", host]
    target = CRATE / "target" / host / "release" / "feed"
    return (
        run([sys.executable, "-m", "tests.sensor.packets.scenarios", seeds], 60)
        and run(build, BUILD_SECONDS, RUSTFLAGS=SANITIZER, CARGO_TARGET_DIR=str(CRATE / "target"))
        and run([target, found, seeds, *limits(seconds)], seconds + 60)
    )


def properties(seconds: int) -> bool:
    command = [sys.executable, "-m", "pytest", "-n", "2", "-m", "hypothesis", "--hypothesis-profile", "anew"]
    end = time.monotonic() + seconds
    while (fine := run(command, PASS_SECONDS)) and time.monotonic() < end:
        pass
    return fine


def main() -> int:
    seconds = int(os.environ.get("SECONDS", "60"))
    fine = wire(seconds)
    if all(shutil.which(tool) for tool in ("cargo", "rustc", "c++")):
        fine = feed(seconds) and fine
    else:
        print("the native engine is not fuzzed: that takes cargo, rustc and a C++ compiler", flush=True)
    return 0 if properties(seconds) and fine else 1


if __name__ == "__main__":
    sys.exit(main())
