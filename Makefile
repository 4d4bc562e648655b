# Everything a newcomer runs. Each target makes the environment it needs, from the lock files.

PYTHON ?= python3
VENV ?= .venv
LOAD_VENV ?= .venv-load
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help demo test e2e e2e-measure lint types structure check bench load lock clean

help:
	@echo 'make demo       serve sample Ingress manifests with sample backends; prints curl lines'
	@echo 'make test       run the tests'
	@echo 'make e2e        run the end-to-end tests on a real control plane (Linux, root, Go)'
	@echo 'make check      run everything that CI runs'
	@echo 'make bench      measure beside nginx, HAProxy and Envoy'
	@echo 'make load       put load on the samples with locust for half a minute; reports in loadtest/results/'
	@echo 'make lock       resolve the dependencies anew into requirements/'

$(VENV)/.runtime: requirements/build.txt requirements/runtime.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; say which with: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --require-hashes -r requirements/build.txt
	$(PIP) install --require-hashes -r requirements/runtime.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.runtime requirements/dev.txt
	$(PIP) install --require-hashes -r requirements/dev.txt
	touch $@

$(VENV)/.bench: $(VENV)/.dev requirements/bench.txt
	$(PIP) install --require-hashes -r requirements/bench.txt
	touch $@

# locust needs gevent and flask, and pins a pytest: it never shares an environment with the controller.
$(LOAD_VENV)/.load: requirements/load.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; say which with: make PYTHON=python3.12")'
	test -x $(LOAD_VENV)/bin/python || $(PYTHON) -m venv $(LOAD_VENV)
	$(LOAD_VENV)/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes -r requirements/load.txt
	touch $@

demo: $(VENV)/.runtime
	@$(BIN)/ingress-controller demo || [ $$? -eq 130 ] # Ctrl-C is how a demo ends

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2

e2e: $(VENV)/.dev
	$(BIN)/python tests/e2e/run.py $(E2E)

e2e-measure: $(VENV)/.dev
	$(BIN)/python tests/e2e/run.py --measure $(E2E)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

structure: $(VENV)/.dev
	$(BIN)/lint-imports

check:
	bash .ci/run

bench: $(VENV)/.bench
	$(BIN)/python loadtest/compare.py

# Flags of locust and of the load test go into LOAD: make load LOAD='--users 50 --tags pages rules'
load: $(VENV)/.runtime $(LOAD_VENV)/.load
	@$(BIN)/python -m loadtest.laptop --locust $(LOAD_VENV)/bin/locust $(LOAD) || \
	  { code=$$?; [ $$code -eq 130 ] || exit $$code; } # Ctrl-C is a way to end it

lock: $(VENV)/.dev
	$(PIP) install uv
	printf 'hatchling>=1.27\neditables\n' | $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url \
	  --no-annotate --no-header --upgrade - --output-file requirements/build.txt
	for set in runtime dev bench; do \
	  case $$set in runtime) groups= ;; dev) groups='--group dev' ;; bench) groups='--group dev --group bench' ;; esac; \
	  $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-annotate --no-header \
	    --upgrade pyproject.toml $$groups --output-file requirements/$$set.txt; \
	done
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header \
	  --upgrade --group load --output-file requirements/load.txt

clean:
	rm -rf $(VENV) $(LOAD_VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
