# Everything a person types. `make help` lists it.
PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
SHELL := /bin/bash

.PHONY: help venv repro test test-gpu images test-containers check

help: ## what there is to make
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; say which: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt setuptools
	$(BIN)/pip install --quiet --constraint constraints.txt --no-build-isolation --editable '.[dev]'
	touch $@

venv: .venv/installed ## .venv with the locked versions of everything

repro: venv ## the six stages on the data of params.yaml, as far as they are not up to date
	dvc repro
	@echo
	@echo 'network   models/segmenter.onnx    (try: $(BIN)/inverseform predict models/segmenter.onnx PHOTO -o mask.png)'
	@echo 'card      models/MODEL_CARD.md'
	@echo 'report    reports/evaluate/report.html'
	@echo 'metrics   reports/*/metrics.json   (the same as a table: $(BIN)/dvc metrics show)'

# A process each for the files of tests, and one thread in each: most of a test is Python's own work.
test: export OMP_NUM_THREADS ?= 1
test: venv ## all tests
	$(BIN)/python -m pytest --quiet --numprocesses auto --maxprocesses 8 --dist loadfile

test-gpu: venv ## what only a GPU can show; says so and does nothing where there is none
	$(BIN)/python -m pytest --quiet -m gpu tests/gpu

images: venv ## the images of the stages, and a bill of materials beside each; needs docker.io and mmdebstrap of Debian
	$(BIN)/python -m containers.build

# The status 3 is that there is no engine: then the tests say why they are skipped, or fail where they must not be.
test-containers: venv ## the images, and the stages in them; says so and does nothing where there is no container engine
	$(BIN)/python -m containers.build || [ $$? -eq 3 ]
	$(BIN)/python -m pytest --quiet -r s -m containers tests/containers

check: venv ## formatting, lint, types, who imports whom
	ruff format --check .
	ruff check .
	pyright
	lint-imports
	$(BIN)/python -m pytest --quiet tests/test_layout.py
