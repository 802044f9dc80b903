# Every target that needs it makes .venv first. PYTHON=python3.12 make ... chooses the interpreter.
.DEFAULT_GOAL := help
.PHONY: help book test refresh serve clean
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
JOBS ?= 2
# One thread for each process: JOBS processes run side by side, and sums do not depend on the number of cores.
export OMP_NUM_THREADS ?= 1

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(INSTALLED): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "imr needs Python 3.11 or later, $(PYTHON) is " + sys.version.split()[0] + ": set PYTHON=python3.12, say")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

book: $(INSTALLED) ## build the HTML book, warnings are errors
	$(BIN)/jupyter-book build . --all -W -n --keep-going --quiet
	@echo "The book is built. Open $(CURDIR)/_build/html/index.html"

test: $(INSTALLED) ## run everything: linter, unit tests, text against notebook, nbval, strict build (IMR_DATA=DIR: with Fashion-MNIST)
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --check --quiet
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile

refresh: $(INSTALLED) ## execute chapters anew into book/notebooks: make refresh [CHAPTERS="02-theorem-1 ..."]
	$(BIN)/python book/twins.py refresh $(CHAPTERS)

serve: book ## build the book and serve it on http://localhost:8000
	$(BIN)/python -m http.server --bind localhost --directory _build/html 8000

clean: ## remove what was built (.venv and data stay)
	rm -rf _build
