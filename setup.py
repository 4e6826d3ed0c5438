"""The native engine's build; everything else is in pyproject.toml.

`AISCOPE_NATIVE` says what to do about it: `auto` (default) builds it when there is a Rust toolchain and goes on without
it otherwise, `yes` fails when it cannot be built, `no` leaves it out.
"""

import os
import shutil
from pathlib import Path

from setuptools import setup
from setuptools_rust import Binding, RustExtension

CHOICE = os.environ.get("AISCOPE_NATIVE", "auto")
if CHOICE not in {"auto", "yes", "no"}:
    raise SystemExit(f"AISCOPE_NATIVE={CHOICE}: expected auto, yes or no")

# What an earlier version left there would go along: services and modules that are gone, an engine that is old.
for left in Path(__file__).parent.glob("build/lib*"):
    shutil.rmtree(left)

core = RustExtension(
    "sensor._core",
    path="sensor/packets/core/Cargo.toml",
    binding=Binding.PyO3,
    py_limited_api=True,
    debug=False,
    optional=CHOICE == "auto",
)

setup(
    rust_extensions=[] if CHOICE == "no" else [core],
    options={} if CHOICE == "no" else {"bdist_wheel": {"py_limited_api": "cp311"}},
)
