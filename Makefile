# The menu. Everything runs in .venv/, which the first target that needs it makes.
PYTHON ?= python3
PY := .venv/bin/python
AISCOPE := .venv/bin/aiscope
# As an installed package is: some machines forbid Python to keep what it compiled, and every command compiles all anew.
COMPILED := $(PY) -m compileall -q sensor collector dashboard signatures

.PHONY: help demo test lint fix types native engine proxy test-faults bench bench-store bench-proxy bench-dlp fuzz docs catalogue-docs wheel clean

help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --upgrade pip
	$(PY) -m pip install --quiet --editable '.[dashboard]'
	@$(COMPILED)
	@touch $@

.venv/ready-dev: pyproject.toml
	$(PYTHON) -m venv .venv
	$(PY) -m pip install --quiet --upgrade pip
	$(PY) -m pip install --quiet --editable '.[dev]'
	@$(COMPILED)
	@touch $@ .venv/ready

.venv-proxy/ready: pyproject.toml
	$(PYTHON) -m venv .venv-proxy
	.venv-proxy/bin/python -m pip install --quiet --upgrade pip
	AISCOPE_NATIVE=no .venv-proxy/bin/python -m pip install --quiet --editable '.[proxy]'
	@touch $@

.venv-sdk/ready: tests/sensor/proxy/sdks.py | .venv/ready-dev
	$(PY) -m tests.sensor.proxy.sdks

demo: .venv/ready ## an hour of office traffic: read, stored, summed up, on a dashboard
	$(PY) deploy/demo/run.py

proxy: .venv/ready .venv-proxy/ready ## the environment of `aiscope proxy`: mitmproxy and its pins

test: .venv/ready-dev .venv-proxy/ready .venv-sdk/ready ## everything the product promises, with the real parts
	@sh tests/system-packages.sh
	$(PY) -m pytest -n 2 --dist loadfile

lint: .venv/ready-dev ## ruff
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

fix: .venv/ready-dev ## ruff, correcting what it can
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

types: .venv/ready-dev ## mypy --strict
	$(PY) -m mypy

native: ## the Rust engine: format, clippy, unit tests
	cd sensor/packets/core && cargo fmt --check
	cd sensor/packets/core && cargo clippy --quiet --all-targets -- -D warnings
	cd sensor/packets/core && cargo test --quiet --no-default-features

wheel: .venv/ready-dev ## a wheel with the native engine for every Python from 3.11 on
	AISCOPE_NATIVE=yes $(PY) -m pip wheel --quiet --no-deps --wheel-dir dist .
	@ls dist/*.whl

bench: .venv/ready-dev ## both engines, the peers and the limit in one run, into docs/performance.md (needs gcc; root for live)
	@$(COMPILED)
	$(PY) deploy/bench/run.py

bench-proxy: .venv/ready-dev .venv-proxy/ready ## what inspection costs: direct, bare mitmproxy, aiscope
	$(PY) deploy/bench/proxy.py

bench-store: .venv/ready-dev ## the collector's rows per second, latency, bytes per row
	$(PY) -m collector.bench.store

bench-dlp: .venv/ready-dev ## precision, recall and speed of the data classes
	$(PY) tests/sensor/proxy/dlp/bench.py

test-faults: .venv/ready-dev ## hundreds of crashes, cuts and full disks: nothing lost, nothing doubled
	FAULTS=300 $(PY) -m pytest tests/faults -s

fuzz: .venv/ready-dev ## parsers and native engine against hostile bytes, properties with new examples, a minute each (SECONDS=60)
	$(PY) -m pip install --quiet atheris
	$(PY) tests/fuzz/run.py

engine: ## the native engine built into this tree; by rename, for a running process has the old one mapped
	cargo build --release --manifest-path sensor/packets/core/Cargo.toml
	cp sensor/packets/core/target/release/lib_core.so sensor/.core.new
	mv sensor/.core.new sensor/_core.abi3.so

catalogue-docs: .venv/ready ## the catalogue as a page to browse
	$(AISCOPE) catalogue page catalogue.html

docs: .venv/ready-dev ## pages that are generated from the code
	$(AISCOPE) settings --markdown > docs/settings.md
	$(AISCOPE) catalogue schema > signatures/schema/service.schema.json

clean: ## what make made
	rm -rf .venv .venv-proxy .venv-sdk .demo .bench .fuzz build dist *.egg-info
