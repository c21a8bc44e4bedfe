# Everything runs in .venv, set up from the pinned, hashed requirements the first time it is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

SECONDS := 300
SEED = $(shell date +%s)

.PHONY: help demo up test check screenshots format chaos bench bench-quick bench-docs requirements clean
.DEFAULT_GOAL := help

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## (.*)/  make \1\t\2/' | expand -t 22

$(STAMP): pyproject.toml requirements/dev.txt
	@PYTHON="$(PYTHON)" VENV="$(VENV)" sh requirements/install.sh
	@touch $(STAMP)

demo: $(STAMP) ## the main job on the sample of all five programmes, on servers of its own
	@$(BIN)/voucher-ledger demo

up: $(STAMP) ## all services on the embedded PostgreSQL and Valkey, until Ctrl-C
	@$(BIN)/voucher-ledger up

test: check $(VENV)/bin/promtool ## the checks, then every test on a real PostgreSQL and a real Valkey
	@$(BIN)/python -m pytest

screenshots: $(STAMP) ## the pictures of the monitor in docs/images, made by its own test
	@VOUCHER_LEDGER_SCREENSHOTS=$(CURDIR)/docs/images $(BIN)/python -m pytest -q tests/acceptance/test_monitor.py

check: $(STAMP) ## ruff, mypy, import-linter, deptry
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/deptry .

chaos: $(STAMP) ## the fault campaign: make chaos SECONDS=600 SEED=42 (docs/testing.md)
	@PYTHONPATH=tests $(BIN)/python -m chaos --seconds $(SECONDS) --seed $(SEED)

$(VENV)/bin/promtool: $(STAMP)
	@VENV="$(VENV)" sh requirements/promtool.sh

format: $(STAMP) ## lay the code out
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

$(VENV)/.bench: $(STAMP) requirements/bench.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bench.txt
	@touch $(VENV)/.bench

bench: $(VENV)/.bench ## the benchmark, about an hour on an otherwise quiet machine; figures also in bench.json
	@$(BIN)/python -m benchmarks --json bench.json --profile-to bench-profile

bench-quick: $(VENV)/.bench ## the same in under two minutes, at sizes that only show that it works
	@$(BIN)/python -m benchmarks --quick

bench-docs: $(STAMP) ## put the figures of the last full run, bench.json, into docs/performance.md
	@cp bench.json docs/performance.json
	@rm -f docs/performance-*.json
	@$(BIN)/python -m benchmarks.markdown docs

requirements: ## pin again what pyproject.toml asks for (needs uv on the PATH)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra embedded --extra tracing -o requirements/run.txt pyproject.toml
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra embedded --extra tracing --extra dev -o requirements/dev.txt pyproject.toml
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --extra bench -c requirements/dev.txt -o requirements/bench.txt pyproject.toml

clean: ## remove what was set up
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
