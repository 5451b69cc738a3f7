# Each target works from a fresh clone with nothing but Python (3.11 to 3.13) and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help demo demo-ocr test test-frameworks test-targets test-models test-torch test-ray lint format bench bench-compress clean

help: ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort

$(VENV)/.demo: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo]' 2> $(VENV)/pip.log || (cat $(VENV)/pip.log; exit 1)
	touch $@

$(VENV)/.dev: $(VENV)/.demo
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt 2>> $(VENV)/pip.log || (cat $(VENV)/pip.log; exit 1)
	touch $@

$(VENV)/.targets: $(VENV)/.dev tests/targets/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo,targets]' -r tests/targets/requirements.txt 2>> $(VENV)/pip.log || (cat $(VENV)/pip.log; exit 1)
	command -v npm > /dev/null || (apt-get update --quiet && apt-get install --yes --quiet npm)
	command -v chromium > /dev/null || (apt-get update --quiet && apt-get install --yes --quiet chromium)
	for name in litert onnxruntime-web litert-web arm64; do $(BIN)/edgewise targets --install $$name || exit 1; done
	touch $@

$(VENV)/.torch: $(VENV)/.dev tests/with_torch/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo,train]' -r tests/with_torch/requirements.txt 2>> $(VENV)/pip.log || (cat $(VENV)/pip.log; exit 1)
	touch $@

$(VENV)/.ray: $(VENV)/.dev tests/with_ray/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo,ray]' -r tests/with_ray/requirements.txt 2>> $(VENV)/pip.log || (cat $(VENV)/pip.log; exit 1)
	touch $@

$(VENV)/.compress: $(VENV)/.torch benchmarks/compress/olive.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[demo,torch,litert-lab]' 2>> $(VENV)/pip.log || (cat $(VENV)/pip.log; exit 1)
	command -v npm > /dev/null || (apt-get update --quiet && apt-get install --yes --quiet npm)
	$(BIN)/edgewise targets --install litert
	test -x $(VENV)/olive/bin/python || $(PYTHON) -m venv $(VENV)/olive
	$(VENV)/olive/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/compress/olive.txt 2>> $(VENV)/pip.log || echo "Olive does not install here; its row will say that it is missing"
	touch $@

demo: $(VENV)/.demo ## Build the sentiment demo: real model, real data, a bundle and a report
	$(BIN)/edgewise demo

demo-ocr: $(VENV)/.demo ## Build the text-recognition demo
	$(BIN)/edgewise demo ocr

test: $(VENV)/.dev ## Run the tests
	$(BIN)/python -m pytest -q --ignore=tests/targets --ignore=tests/with_torch --ignore=tests/with_ray

test-frameworks: $(VENV)/.targets ## Test every framework: converters, interpreter, browser, emulator (installs them)
	$(BIN)/python -m pytest -q tests/targets --ignore=tests/targets/test_every_cell.py --ignore=tests/targets/test_nine_models.py

test-targets: $(VENV)/.targets ## The same, and the target matrix: six models built and executed in every framework (an hour)
	$(BIN)/python -m pytest -q tests/targets --ignore=tests/targets/test_nine_models.py

test-models: $(VENV)/.targets ## Make the nine models that compression is held to, and check each (trains; an hour)
	$(BIN)/python -m pytest -q tests/targets/test_nine_models.py

test-torch: $(VENV)/.torch ## Test what needs torch: the importer and training (installs torch)
	$(BIN)/python -m pytest -q tests/with_torch -m "not slow"

test-ray: $(VENV)/.ray ## Test builds on a Ray cluster: two nodes on this machine (installs Ray)
	$(BIN)/python -m pytest -q tests/with_ray

lint: $(VENV)/.dev ## Check style, types and the layout of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.dev ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev ## Measure: the choice against each single candidate, overhead, import time (builds the demos if need be)
	$(BIN)/python -m benchmarks --build

bench-compress: $(VENV)/.compress ## Measure compression beside single tools, nine models or MODEL="fashion magika" (hours; installs the tools)
	$(BIN)/python -m benchmarks.compress $(MODEL)

clean: ## Remove what the other targets made
	rm -rf $(VENV) demo-out bench-out
