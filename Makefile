# tracekit on a laptop: everything lives in .venv, made from the locked requirements.

VENV := .venv
BIN := $(VENV)/bin
PEERS := .venv-peers
KILLS ?= 20
SEED ?= 1
SESSIONS ?= 100000
WARM := from samplers.warm import warm; warm()
# The pip that a Python 3.11 brings along does not find packages with extras in a list with hashes.
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
PEERS_PIP := $(PEERS)/bin/python -m pip --quiet --disable-pip-version-check
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --custom-compile-command "make lock"

# The first interpreter that can do the work; PYTHON=/path/to/python overrides it.
# A name is only believed when it runs: version managers leave dead names on the path.
CANDIDATES := python3.11 python3 python3.12 python3.13 python3.14 python
USABLE := import sys, venv, ensurepip; raise SystemExit(sys.version_info < (3, 11))
PYTHON ?= $(shell for name in $(CANDIDATES); do \
	if $$name -c '$(USABLE)' >/dev/null 2>&1; then echo $$name; break; fi; done)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-slow test-peers lint format types bench bench-overhead bench-collector coverage-sim bench-sla sla-month kill-test soak notebooks lock clean $(PEERS)

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.runtime ## install tracekit, show a report on simulated agent sessions, and write it as a page
	@$(BIN)/tracekit demo

LAKE := .tracekit-demo

notebooks: $(VENV)/.dev ## run the notebooks over a lake (LAKE=DIR), into build/notebooks as .html and .ipynb
	@TRACEKIT_LAKE=$(LAKE) $(BIN)/python -m tracekit.notebooks.export build/notebooks

test: $(VENV)/.dev ## run the tests (a few minutes)
	@$(BIN)/python -m pytest -m "not slow" --numprocesses auto --dist loadfile

test-slow: $(VENV)/.dev ## run the long ones: fuzzing, soak, comparisons with peers
	@$(BIN)/python -m pytest -m slow

test-peers: $(VENV)/.dev $(PEERS)/.ready ## run one agent under other instrumentations and compare the sessions
	@$(BIN)/python -m pytest -m "slow or not slow" tests/test_peers.py

kill-test: $(VENV)/.dev ## kill the collector under load KILLS=20 times and look for what is lost
	@PYTHONPATH=. $(BIN)/python tests/killing.py --kills $(KILLS) --seed $(SEED)

soak: $(VENV)/.dev ## six hours of traffic in virtual time through the collector (some minutes)
	@PYTHONPATH=. $(BIN)/python tests/soaking.py --sessions $(SESSIONS) --seed $(SEED)

lint: $(VENV)/.dev ## check style and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

format: $(VENV)/.dev ## rewrite the files in the house style
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

types: $(VENV)/.dev ## check types, source and tests
	@$(BIN)/mypy

bench: $(VENV)/.dev ## measure, against peers in the same run
	@$(BIN)/python benchmarks/run.py

bench-overhead: $(VENV)/.dev ## measure what tracing costs per call; against peers too after `make .venv-peers`
	@$(BIN)/python benchmarks/bench_overhead.py

bench-collector: $(VENV)/.dev ## measure the collector end to end, against the most gRPC takes; some six minutes
	@$(BIN)/python benchmarks/bench_collector.py

coverage-sim: $(VENV)/.dev ## draw samples and count how often intervals cover (some minutes)
	@$(BIN)/python benchmarks/coverage_sim.py

bench-sla: $(VENV)/.dev ## measure the SLA report of a month, ten million attempts, against a query by hand
	@$(BIN)/python benchmarks/bench_sla.py

sla-month: $(VENV)/.dev ## simulate a month of 200,000 tasks and hold the SLA answers against its script (ten minutes)
	@$(BIN)/python tests/sla_month.py

lock: $(VENV)/.dev ## choose the newest allowed versions and write them down with their hashes
	@echo "pip>=26" | $(COMPILE) --upgrade - --output-file requirements-pip.lock
	@echo "setuptools>=77" | $(COMPILE) --upgrade pyproject.toml - --output-file requirements.lock
	@$(COMPILE) --upgrade pyproject.toml --extra dev --constraints requirements.lock \
		--output-file requirements-dev.lock
	@$(COMPILE) --upgrade tests/peers/requirements.in --output-file requirements-peers.lock

clean: ## remove what was built, the environments included
	rm -rf $(VENV) $(PEERS) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "error: no usable Python found (tried: $(CANDIDATES)):" \
		"install Python 3.11 or newer with its venv module (on Debian: python3-venv)," \
		"or name one with PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c '$(USABLE)' || { echo "error: $(PYTHON) is not Python 3.11 or newer with" \
		"its venv module: name another one with PYTHON=/path/to/python" >&2; exit 1; }
	@echo "making $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) install --require-hashes --requirement requirements-pip.lock

# The development lock holds everything of the runtime lock, so either stamp serves the demo.
$(VENV)/.runtime: requirements.lock pyproject.toml | $(BIN)/python
	@echo "installing what tracekit needs to run"
	@$(PIP) install --require-hashes --requirement requirements.lock
	@$(PIP) install --no-index --no-deps --no-build-isolation --editable .
	@echo "compiling what works on spans, once"
	@$(BIN)/python -c '$(WARM)'
	@touch $@

$(VENV)/.dev: requirements-dev.lock pyproject.toml | $(BIN)/python
	@echo "installing what tracekit needs to run, and its development tools"
	@$(PIP) install --require-hashes --requirement requirements-dev.lock
	@$(PIP) install --no-index --no-deps --no-build-isolation --editable .
	@echo "compiling what works on spans, once"
	@$(BIN)/python -c '$(WARM)'
	@touch $(VENV)/.runtime $@

# Instrumentations of others, to compare with: apart from what tracekit needs, and never imported by it.
$(PEERS): $(PEERS)/.ready

$(PEERS)/.ready: requirements-peers.lock | $(BIN)/python
	@echo "installing what tracekit is compared with"
	@$(BIN)/python -m venv $(PEERS)
	@$(PEERS_PIP) install --require-hashes --requirement requirements-pip.lock
	@$(PEERS_PIP) install --require-hashes --requirement requirements-peers.lock
	@touch $@
