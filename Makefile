# make demo: from a clone to a playing animated mesh. make help lists the rest.
PYTHON ?= python3
PORT ?= 8000
MINUTES ?= 8
# The wheel index of a torch build (CPU only, or another CUDA); empty takes the default build of this platform.
TORCH_INDEX ?=
# Processes that run tests, each with servers of its own. A third of their time they wait: three for two cores.
PROCESSES ?= 3

VENV := .venv
BIN := $(VENV)/bin
# uv installs in seconds where it is on the PATH; pip does the same otherwise. Both check the hashes of the lock.
UV := $(shell command -v uv)
INSTALL := $(if $(UV),uv pip install --quiet --python $(BIN)/python,$(BIN)/pip install --quiet --disable-pip-version-check)
# uv reads no setting of pip.
ifdef PIP_FIND_LINKS
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)
endif
PARALLEL := --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder
LOCK := uv pip compile --config-file docker/lock.toml --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-package torch pyproject.toml
# The lock of torch holds the builds of PyPI. Another index, or a folder of wheels that pip knows of, has others.
OTHER_TORCH = $(or $(TORCH_INDEX),$(PIP_FIND_LINKS),$(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null))
TORCH = $(shell grep -o '^torch==[^ ]*' docker/torch.lock) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))

.PHONY: help setup demo up test coverage docs bench bench-quality gpu-check chaos load audit lint format lock torch-lock pin-images clean
.DEFAULT_GOAL := help

help: ## List the commands
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

setup: $(VENV)/.ready ## Make .venv and install from the lock file

$(VENV)/.ready: requirements.lock docker/torch.lock pyproject.toml Makefile
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit("Python %d.%d found, 3.11 or later wanted: make PYTHON=python3.12 …" % v[:2])'
	$(if $(UV),uv venv --quiet --allow-existing --seed --python $(PYTHON),$(PYTHON) -m venv) $(VENV)
	$(INSTALL) --no-deps --require-hashes -r requirements.lock
	$(INSTALL) $(if $(OTHER_TORCH),$(TORCH),--no-deps --require-hashes -r docker/torch.lock)
	$(INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

demo: setup ## Reconstruct shipped samples through the whole stack; files in demo-out/
	$(BIN)/python -m service.local demo

up: setup ## Run the stack in the foreground on PORT (8000)
	$(BIN)/oflow up --port $(PORT)

test: setup ## Run every test that needs no GPU, in PROCESSES (3) processes
	$(BIN)/pytest $(PARALLEL)

coverage: setup ## The same tests, with the lines and branches they reach
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(PARALLEL)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

docs: setup ## Build the documentation into site/; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: setup ## Measure fast against reference, cost against size, the service's overhead, training, reading data
	@mkdir -p bench-out
	$(BIN)/python -m tests.benchmarks.inference --json bench-out/inference.json
	$(BIN)/python -m tests.benchmarks.sizes --json bench-out/sizes.json --plot bench-out/sizes.png
	$(BIN)/python -m tests.benchmarks.registration_times --json bench-out/registration_times.json --plot bench-out/registration_times.png
	$(BIN)/python -m tests.benchmarks.outputs
	$(BIN)/python -m tests.benchmarks.service
	$(BIN)/python -m tests.benchmarks.training
	$(BIN)/python -m tests.benchmarks.local_training
	$(BIN)/python -m tests.benchmarks.data
	$(BIN)/python -m tests.benchmarks.bodies

bench-quality: setup ## Distance to the truth of the subjects in SUBJECTS, in every regime
	for regime in corr300 free300 free2000 ragged view long; do \
		$(BIN)/python -m tests.benchmarks.moving $$regime $(SUBJECTS) || exit 1; done

gpu-check: ## Tests, measurements and MINUTES (8) of training on a CUDA GPU; DRY=1 tries the command on a CPU
	$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) -m tests.gpu --minutes $(MINUTES) --out gpu-out $(if $(DRY),--dry)

chaos: setup ## Kill, hang, starve and cut every part while jobs run; up to half an hour
	$(BIN)/python -m tests.suites.chaos

load: setup ## Many clients at once: latencies, throughput, memory, leaks
	$(BIN)/python -m tests.suites.load

audit: setup ## bandit over the code, known advisories of the locked packages
	$(BIN)/bandit -q -c pyproject.toml -r service worker model -x '*/node_modules/*'
	for lock in requirements.lock docker/gateway.lock docker/train.lock docker/torch.lock; do \
		$(BIN)/pip-audit --strict --no-deps --disable-pip -r $$lock || exit 1; done

lint: setup ## ruff, mypy strict, the rule about imports, typos, Dockerfiles, workflows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/typos
	$(BIN)/hadolint docker/*.Dockerfile .devcontainer/Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml

format: setup ## Let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: setup ## Resolve the lock files anew
	$(BIN)/$(LOCK) --all-extras --output-file requirements.lock
	$(BIN)/$(LOCK) --extra gateway --extra otel --output-file docker/gateway.lock
	$(BIN)/$(LOCK) --extra worker --extra otel --output-file docker/worker.lock
	$(BIN)/$(LOCK) --extra train --extra otel --output-file docker/train.lock
	$(MAKE) torch-lock

torch-lock: setup ## Resolve docker/torch.lock anew: torch and its CUDA packages, from TORCH_INDEX if given
	sed -n 's/^constraint-dependencies = \["\(torch==[^"]*\)".*/\1/p' docker/lock.toml | \
		UV_FIND_LINKS= $(BIN)/uv pip compile --no-config --quiet --upgrade --universal --python-version 3.11 \
		--generate-hashes --no-header --no-annotate $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX) --emit-index-url) \
		$$(sed -n 's/^\([a-z0-9-]*\)==.*/--no-emit-package \1/p' requirements.lock) --output-file docker/torch.lock -

pin-images: ## Pin base images and servers to the digests that their tags have now
	$(PYTHON) docker/pin_images.py

clean: ## Remove what the commands above made
	rm -rf $(VENV) demo-out bench-out gpu-out site .coverage* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
