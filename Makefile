# The two commands are `make demo` and `make test`. Each sets up all it needs in .venv and .lastword.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
# each worker has a Kafka and a PostgreSQL of its own
WORKERS ?= 2
BIN := .venv/bin
RUN := $(BIN)/python -m

.PHONY: help setup demo check test chaos acceptance bench test-containers schemas lock clean

help:  ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup: .venv/.complete  ## the virtual environment with every package, pinned and hashed

.venv/.complete: requirements.lock pyproject.toml client/pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name one with PYTHON=..."; exit 1; }
	@echo "setting up .venv: about 500 MB on disk, once"
	@$(PYTHON) -m venv .venv
	@$(RUN) pip install --quiet --disable-pip-version-check uv
	@$(RUN) uv pip install --require-hashes -r requirements.lock
	@$(RUN) uv pip install --no-deps -e client -e .
	@touch $@

demo: setup  ## the half-hour outage, in 90 seconds, on real Kafka and PostgreSQL
	@$(RUN) services.cli demo

check: setup  ## lint, types, import arrows, hygiene
	$(RUN) ruff format --check .
	$(RUN) ruff check .
	$(RUN) mypy
	@$(BIN)/python -c 'import sys; sys.argv = ["lint-imports"]; from importlinter.cli import lint_imports_command; lint_imports_command()'
	$(RUN) tests.hygiene

test: check  ## check, and every test not marked slow
	$(RUN) pytest -m "not slow" -n $(WORKERS) --dist loadfile

chaos: setup  ## every fault on real processes, then a storm; MINUTES=, SEED=, ROWS=1,6,12 choose
	@$(RUN) tests.chaos --minutes $(or $(MINUTES),2) --seed $(or $(SEED),1) --rows "$(ROWS)" \
	  --brokers $(or $(BROKERS),1) --protocol $(or $(PROTOCOL),classic)

acceptance: setup  ## the acceptance tests of ONLY=<slug>, on a clean clone of HEAD
	@$(RUN) tests.acceptance $(ONLY)

bench: .venv/.bench  ## ours, the floor and its peers, to reports/bench.json; QUICK=1, ONLY=route choose
	@$(RUN) benchmarks $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY))

.venv/.bench: .venv/.complete benchmarks/requirements.lock
	@command -v redis-server >/dev/null || { echo "redis-server is needed, for the peers: install it"; exit 1; }
	@$(RUN) uv pip install --quiet --require-hashes -r benchmarks/requirements.lock
	@touch $@

test-containers: setup  ## the integration suite on containers of apache/kafka and postgres
	$(RUN) pytest -m "not slow" tests/integration --containers

lock: setup  ## resolve the dependencies again
	$(RUN) uv pip compile pyproject.toml client/pyproject.toml --extra dev --extra kafka --universal \
	  --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --no-emit-package lastword --no-emit-package lastword-engine -o requirements.lock
	$(RUN) uv pip compile benchmarks/requirements.in --constraint requirements.lock --universal \
	  --python-version 3.11 --generate-hashes --no-header --no-annotate -o benchmarks/requirements.lock

clean:  ## remove what was set up and kept
	rm -rf .venv .lastword reports
