# Every target that needs it makes .venv first. PYTHON=python3.12 make ... chooses the interpreter.
.DEFAULT_GOAL := help
.PHONY: help book test claims lint lock lowest newest links assign grade chapter refresh bench mutants live pdf launch serve clean
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/installed
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
TOOLS := PYTHONPATH=book $(BIN)/python -m _tools
# What the witnesses of the book's claims said, and what they depend on.
WITNESSES := _build/claims.json
# The folders stand for files that came, went or changed their names.
WITNESSED := book/claims.yml tests/strategies.py imr tests/claims imr/symbolic $(wildcard imr/*.py imr/symbolic/*.py tests/claims/*.py)
BIOME := .ci/node_modules/.bin/biome
UV := _build/uv/bin/uv
GROUPS := --group book --group course --group test
# The tests that need neither the stored notebooks nor the built book, which are made with the pinned versions alone.
PACKAGE_TESTS = $(filter-out tests/test_dependencies.py,$(wildcard tests/test_*.py)) tests/claims tests/experiment tests/symbolic
JOBS ?= 2
# One thread for each process: JOBS processes run side by side, and sums do not depend on the number of cores.
export OMP_NUM_THREADS ?= 1
# OWNER/NAME of the project on GitHub, if the book shall have buttons for Colab and Binder.
export IMR_REPOSITORY

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

# torch comes first, and its hash is not compared: any build of the pinned version serves. Where the machine offers a CPU build
# (an index or a folder in pip's own configuration), pip takes that, gigabytes smaller than the registry's for Linux; its hash
# cannot be known here. All else is compared, and nothing is built on the way. The last step adds the package, and what the build of torch at hand needs.
$(INSTALLED): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "imr needs Python 3.11 or later, $(PYTHON) is " + sys.version.split()[0] + ": set PYTHON=python3.12, say")'
	$(PYTHON) -m venv .venv
	$(PIP) install --no-deps $$(sed -nE 's/^(torch(vision)?==[^ ]+).*/\1/p' requirements.txt)
	$(PIP) install --no-deps --require-hashes --only-binary :all: -r requirements.txt
	$(PIP) install --no-build-isolation --editable .
	@touch $@

book: $(INSTALLED) $(WITNESSES) ## build the HTML book, warnings are errors
	rm -rf _build/html
	$(BIN)/jupyter-book build . --all -W -n --keep-going --quiet
	@echo "The book is built. Open $(CURDIR)/_build/html/index.html"

test: $(INSTALLED) ## run everything: linter, unit tests, text against notebook, nbval, strict build (IMR_DATA=DIR: with Fashion-MNIST)
	@$(MAKE) --no-print-directory lint
	$(BIN)/python -m pytest -n $(JOBS) --junit-xml=_build/claims.xml tests/claims
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --junit-xml=_build/tests.xml --ignore=tests/claims

claims: $(WITNESSES) ## run the witnesses of the book's claims: proofs, checks, wrong formulas

$(WITNESSES): $(INSTALLED) $(WITNESSED)
	$(BIN)/python -m pytest -q -n $(JOBS) tests/claims

lint: $(INSTALLED) ## check the style of Python, and with npm that of JavaScript and CSS
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --check --quiet
ifneq ($(shell command -v npm 2> /dev/null),)
	test $(BIOME) -nt .ci/package-lock.json || { npm ci --silent --prefix .ci && touch $(BIOME); }
	$(BIOME) ci --config-path=.ci --error-on-warnings --reporter=summary book/_static/*.js book/_static/*.css
else
	@echo "JavaScript and CSS are not checked: that needs npm" && test "$(IMR_REQUIRE_NPM)" != 1
endif

$(UV): pyproject.toml
	$(PYTHON) -m venv _build/uv
	_build/uv/bin/python -m pip --quiet --disable-pip-version-check install $$(sed -nE 's/^required-version = "(.*)"/uv\1/p' $<)
	@touch $@

lock: $(UV) ## pin what pyproject.toml asks for in requirements.txt: make lock [UPGRADE=1, or UPGRADE="numpy scipy"]
	$(UV) pip compile --quiet pyproject.toml $(GROUPS) --output-file requirements.txt \
		$(if $(filter 1,$(UPGRADE)),--upgrade,$(addprefix --upgrade-package ,$(UPGRADE))) \
		--custom-compile-command "make lock (never edit; make .venv/installed installs it, torch first: see README)"

# Old releases may use what newer ones of their own dependencies call deprecated; that is no fault of the bound.
lowest: OPTIONS := -W default::DeprecationWarning
lowest: ## test imr with the lowest versions that pyproject.toml allows
newest: ## test imr with the newest versions that pyproject.toml allows
lowest newest: $(UV)
	$(UV) venv --quiet --clear --python $(PYTHON) _build/$@
	$(UV) pip install --quiet --python _build/$@ --resolution $(if $(OPTIONS),lowest-direct,highest) --editable . $(GROUPS)
	_build/$@/bin/python -m pytest -n $(JOBS) --dist loadfile $(OPTIONS) $(PACKAGE_TESTS)

links: $(INSTALLED) ## ask every page that the book links to whether it is still there
	$(BIN)/jupyter-book build . --builder linkcheck --path-output _build/links --keep-going

assign: $(INSTALLED) ## student version, solution and autograder of the assignments in dist/: make assign [NAME=01-theorem-1]
	$(TOOLS) assign $(NAME)

grade: $(INSTALLED) ## grade a folder of notebooks: make grade SUBMISSIONS=DIR [NAME=01-theorem-1] [GRADES=grades]
	@test -n "$(SUBMISSIONS)" || { echo "make grade SUBMISSIONS=DIR: name the folder of notebooks" >&2; exit 2; }
	$(TOOLS) grade "$(SUBMISSIONS)" --out "$(or $(GRADES),grades)" $(if $(NAME),--assignment $(NAME))

chapter: $(INSTALLED) ## begin a chapter: make chapter NAME=13-my-topic TITLE="My topic"
	$(TOOLS) chapter "$(NAME)" "$(TITLE)"

refresh: $(INSTALLED) ## execute chapters anew into book/notebooks: make refresh [CHAPTERS="03-theorem-1 ..."]
	$(TOOLS) refresh $(CHAPTERS)

bench: $(INSTALLED) ## measure, side by side: closed forms against automatic differentiation, in time and memory
	env -u OMP_NUM_THREADS OMP_WAIT_POLICY=passive $(BIN)/python tests/benchmarks.py

mutants: $(INSTALLED) $(UV) ## change imr/ in every small way and see which changes the tests miss (takes long)
	$(UV) pip install --quiet --python .venv --group mutants
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
