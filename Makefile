# The one door to the project. It needs python3 >= 3.11 and make; everything else is installed into .venv from
# requirements.lock, with hashes.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help demo up test slow fault fault-quick bench bench-quick check breaking gen format lock clean

help: ## Lists what make can do
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

.venv/installed: requirements.lock pyproject.toml clients/python/pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "python3 >= 3.11 is needed")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		--editable . --editable clients/python
	@touch $@

demo: .venv/installed ## Shows the register at work, from end to end, in a minute
	$(BIN)/python -m demo

up: .venv/installed ## The same, and stays up until Ctrl-C
	$(BIN)/python -m demo --stay

test: .venv/installed ## All fast tests
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not fault and not slow" --durations 10

slow: .venv/installed ## The guides' commands, the wheel alone, restarts, and a short pass of the tests that kill
	$(BIN)/pytest -n 2 --dist loadscope -m "slow and not fault" --durations 10

fault: .venv/installed ## The long tests that kill, pause, cut and restore, and a million texts for the CNIC parser
	$(BIN)/pytest -m fault --long --timeout 3600
	$(BIN)/pytest tests/unit/test_cnic.py --long --timeout 3600

fault-quick: .venv/installed ## The same in short
	$(BIN)/pytest -m fault --timeout 600

bench: .venv/installed ## All benchmarks
	$(BIN)/python -m benchmarks.feed
	$(BIN)/python -m benchmarks.lookup
	$(BIN)/python -m benchmarks.registry
	$(BIN)/python -m benchmarks.promptness

bench-quick: .venv/installed ## The same, a minute each
	$(BIN)/python -m benchmarks.feed --quick
	$(BIN)/python -m benchmarks.lookup --quick
	$(BIN)/python -m benchmarks.registry --quick
	$(BIN)/python -m benchmarks.promptness --quick

check: .venv/installed ## Lint, types, architecture, contract, generated code
	ruff check .
	ruff format --check .
	pyright
	lint-imports
	buf lint
	buf format --diff --exit-code protos
	$(BIN)/python tools/gen.py --check
	$(BIN)/python tools/gen_sync.py --check
	$(BIN)/python tools/gen_access.py --check
	$(MAKE) --no-print-directory breaking

# The contract must stay readable for those who compiled an older one. Compared with what has landed.
AGAINST ?= origin/main
breaking: .venv/installed ## Compares the contract with that of AGAINST=origin/main
	@if git cat-file -e "$(AGAINST):protos" 2>/dev/null; then \
		buf breaking --against ".git#ref=$$(git rev-parse $(AGAINST))"; \
	else echo "no contract at $(AGAINST) to compare with"; fi

gen: .venv/installed ## Generates stubs and docs/access.md from protos/, and the sync client from the async one
	$(BIN)/python tools/gen.py
	$(BIN)/python tools/gen_sync.py
	$(BIN)/python tools/gen_access.py

format: .venv/installed ## Formats code and contract
	ruff format .
	ruff check --fix .
	buf format --write protos

lock: .venv/installed ## Resolves requirements.lock anew from the pyproject files
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
		--no-header --no-emit-package nsor-client --group dev pyproject.toml --output-file requirements.lock $(LOCK)

clean: ## Removes .venv and caches
	rm -rf .venv .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +
