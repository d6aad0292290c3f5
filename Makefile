# `make` sets up and runs the main job; `make test` sets up and runs the tests; `make help` lists the rest.
.DEFAULT_GOAL := all
CORES ?= $(shell getconf _NPROCESSORS_ONLN)
PYTHON ?= python3
# More for Snakemake, say: make ARGS="--config seeds=[1,2]"
ARGS ?=
# How long `make fuzz` tries each reader.
SECONDS ?= 60
# How often `make soak` runs the workflow.
ROUNDS ?= 20

# What the stages import, and takes long to compile.
IMPORTS := docutils.core, jinja2, jsonschema, matplotlib.backends.backend_agg, matplotlib.backends.backend_pdf, \
	matplotlib.figure, pandas, requests, safetensors.torch, scipy.io, scipy.stats, snakemake.cli, torch._dynamo, \
	torch.utils._device, torch.utils.tensorboard, tqdm, yaml
VENV := .venv
STAMP := $(VENV)/.installed
RUN := $(VENV)/bin
# The packages that `make peers` measures have an environment of their own.
PEERS := .venv-peers
UV = $$(command -v uv || echo $(RUN)/uv)
# A lock with hashes, and without the address of the package index.
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-header --upgrade
# In a terminal, what runs and how long it will take; in a file or a pipe, Snakemake's own lines.
WATCHED := PYTHONPATH="$(CURDIR)/workflow/terminal$${PYTHONPATH:+:$$PYTHONPATH}" $(RUN)/snakemake --logger genlab
SNAKEMAKE := $(if $(MAKE_TERMOUT),$(WATCHED),$(RUN)/snakemake) --cores $(CORES)

.PHONY: all full report test test-quick test-slurm fuzz soak benchmark peers benchmark-gpu lint format lock audit clean distclean help setup unlock

all: $(STAMP)  ## set up, then run the main job on the embedded data (minutes, no download)
	$(SNAKEMAKE) all numbers $(ARGS)

full: $(STAMP)  ## the real thing: official data, config/full.yaml (hours)
	$(SNAKEMAKE) all --configfile config/full.yaml $(ARGS)

report: all  ## write Snakemake's own report of the main job too, to results/snakemake-report.html
	$(RUN)/snakemake --report results/snakemake-report.html $(ARGS)

test: $(STAMP)  ## set up, then run every test and check
	$(RUN)/pytest -n $(CORES) --dist loadfile

test-quick: $(STAMP)  ## run the tests of functions but the slow ones (about a minute)
	$(RUN)/pytest -n $(CORES) --dist loadfile -m "not slow" tests/unit

test-slurm: $(STAMP)  ## on Debian, as root: install and start a Slurm, run the workflow on it (half an hour), and stop it
	tests/slurm/run.sh $(abspath $(RUN))/python

fuzz: $(STAMP)  ## try damaged and made-up files on every reader, SECONDS for each, by default 60 (about 15 minutes)
	GENLAB_FUZZ=10 $(RUN)/pytest tests/fuzz
	$(UV) pip install --quiet --require-hashes --python $(RUN)/python --requirement tests/fuzz/requirements.txt || echo "atheris cannot be installed here"
	PYTHONPATH=workflow/scripts $(RUN)/python tests/fuzz/fuzz.py $(SECONDS)

soak: $(STAMP)  ## run the workflow ROUNDS times, by default 20, while its jobs and Snakemake are killed (about an hour)
	$(RUN)/python tests/faults/soak.py $(ROUNDS)

benchmark: $(STAMP)  ## measure speed and memory side by side with plain references, into docs/performance.md (minutes)
	$(RUN)/python benchmarks/run_all.py --output docs/performance.md

peers: $(PEERS)/.installed  ## measure beside other packages, into docs/performance.md (minutes)
	$(PEERS)/bin/python benchmarks/peers.py --output docs/performance.md

$(PEERS)/.installed: $(STAMP) requirements.txt benchmarks/peers.txt
	$(PYTHON) -m venv --clear $(PEERS)
	$(UV) pip install --quiet --python $(PEERS)/bin/python --require-hashes --requirement requirements.txt
	$(UV) pip install --quiet --python $(PEERS)/bin/python --require-hashes --no-deps --requirement benchmarks/peers.txt
	@touch $@

benchmark-gpu: $(STAMP)  ## check and measure on a GPU, into gpu/ (9 minutes)
	$(RUN)/python benchmarks/gpu.py --output gpu

lint: $(STAMP)  ## check style: ruff, snakefmt, snakemake --lint
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/snakefmt --check Snakefile workflow
	$(RUN)/snakemake --lint

format: $(STAMP)  ## put Python and Snakemake code into the project's style
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .
	$(RUN)/snakefmt Snakefile workflow

setup: $(STAMP)  ## build the environment only

$(STAMP): requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than 3.11; run: make PYTHON=/path/to/newer/python3"; exit 2; }
	$(PYTHON) -m venv --clear $(VENV)
	command -v uv > /dev/null || $(RUN)/python -m pip install --quiet uv
	$(UV) pip install --quiet --python $(RUN)/python --require-hashes --requirement requirements.txt
	@# Compiled once. Where Python is told to write no bytecode, each of a hundred jobs would compile its imports anew.
	env -u PYTHONDONTWRITEBYTECODE $(RUN)/python -c "import $(IMPORTS)"
	@touch $@

lock: $(STAMP)  ## resolve pyproject.toml anew into requirements.txt
	$(COMPILE) --group dev pyproject.toml --output-file requirements.txt
	$(COMPILE) --group pyproject.toml:fuzz --output-file tests/fuzz/requirements.txt
	$(COMPILE) --no-deps --group pyproject.toml:peers --output-file benchmarks/peers.txt

audit: $(STAMP)  ## look for known vulnerabilities of the locked packages, where a database of them can be reached
	$(RUN)/python tests/audit.py $(UV) tool run --quiet pip-audit@2.10.1

unlock: $(STAMP)  ## after a crash or a power loss: remove the lock that Snakemake left behind
	$(RUN)/snakemake --unlock

clean:  ## delete results (data and the environment stay)
	find results -mindepth 1 -not -name README.md -delete
	rm -rf .pytest_cache .ruff_cache

distclean: clean  ## delete results, data, what Snakemake knows of them, and the environment
	rm -rf resources .snakemake $(VENV) $(PEERS)

help:  ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
