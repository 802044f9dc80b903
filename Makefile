# Every target that needs it makes .venv first. PYTHON=python3.12 make ... chooses the interpreter.
.DEFAULT_GOAL := help
.PHONY: help book test claims assign grade chapter refresh bench mutants live pdf launch serve clean
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
TOOLS := PYTHONPATH=book $(BIN)/python -m _tools
# What the witnesses of the book's claims said, and what they depend on.
WITNESSES := _build/claims.json
WITNESSED := book/claims.yml tests/strategies.py $(wildcard imr/*.py tests/claims/*.py)
JOBS ?= 2
# One thread for each process: JOBS processes run side by side, and sums do not depend on the number of cores.
export OMP_NUM_THREADS ?= 1
# OWNER/NAME of the project on GitHub, if the book shall have buttons for Colab and Binder.
export IMR_REPOSITORY

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

$(INSTALLED): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "imr needs Python 3.11 or later, $(PYTHON) is " + sys.version.split()[0] + ": set PYTHON=python3.12, say")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

book: $(INSTALLED) $(WITNESSES) ## build the HTML book, warnings are errors
	rm -rf _build/html
	$(BIN)/jupyter-book build . --all -W -n --keep-going --quiet
	@echo "The book is built. Open $(CURDIR)/_build/html/index.html"

test: $(INSTALLED) ## run everything: linter, unit tests, text against notebook, nbval, strict build (IMR_DATA=DIR: with Fashion-MNIST)
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --check --quiet
	$(BIN)/python -m pytest -n $(JOBS) tests/claims
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --ignore=tests/claims

claims: $(WITNESSES) ## run the witnesses of the book's claims: proofs, checks, wrong formulas

$(WITNESSES): $(INSTALLED) $(WITNESSED)
	$(BIN)/python -m pytest -q -n $(JOBS) tests/claims

assign: $(INSTALLED) ## student version, solution and autograder of the assignments in dist/: make assign [NAME=01-theorem-1]
	$(TOOLS) assign $(NAME)

grade: $(INSTALLED) ## grade a folder of notebooks: make grade SUBMISSIONS=DIR [NAME=01-theorem-1] [GRADES=grades]
	@test -n "$(SUBMISSIONS)" || { echo "make grade SUBMISSIONS=DIR: name the folder of notebooks" >&2; exit 2; }
	$(TOOLS) grade "$(SUBMISSIONS)" --out "$(or $(GRADES),grades)" $(if $(NAME),--assignment $(NAME))

chapter: $(INSTALLED) ## begin a chapter: make chapter NAME=12-my-topic TITLE="My topic"
	$(TOOLS) chapter "$(NAME)" "$(TITLE)"

refresh: $(INSTALLED) ## execute chapters anew into book/notebooks: make refresh [CHAPTERS="03-theorem-1 ..."]
	$(TOOLS) refresh $(CHAPTERS)

bench: $(INSTALLED) ## measure, side by side: closed forms against automatic differentiation, in time and memory
	env -u OMP_NUM_THREADS OMP_WAIT_POLICY=passive $(BIN)/python tests/benchmarks.py

mutants: $(INSTALLED) ## change imr/ in every small way and see which changes the tests miss (takes long)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check mutmut==3.8.1
	$(BIN)/mutmut run; $(BIN)/mutmut results

live: $(INSTALLED) ## fetch Python for the browser (20 MB, needs npm), so that readers run the SymPy cells in the page
	$(TOOLS) live

pdf: book ## print the whole book to _build/imr.pdf (needs Chromium), and link to it from the title page
	$(TOOLS) pdf
	$(MAKE) book

launch: $(INSTALLED) ## write the notebooks that Colab and Binder open to _build/launch: make launch IMR_REPOSITORY=OWNER/NAME
	$(TOOLS) publish

serve: book ## build the book and serve it on http://localhost:8000
	$(BIN)/python -m http.server --bind localhost --directory _build/html 8000

clean: ## remove what was built (.venv and data stay)
	rm -rf _build
