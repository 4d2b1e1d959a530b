# make install   a virtual environment in .venv with mmforget and everything it needs
# make demo      from benchmark to leaderboard on micro models: demo/index.html, demo/leaderboard.json
# make test      all tests but the longest: about twenty minutes on two cores
# make test-long the longest: the whole demo, runs that are killed, every task in stock lm_eval, a second retain model
# make quick     lint and the tests that take no model, no process and no seconds: what one runs while writing
# make check     format, lint, types, architecture

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# Compiled modules are kept, whatever the shell says: tests run in many processes, each of which would compile them.
TESTING := PYTHONDONTWRITEBYTECODE= HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile

.PHONY: install demo test test-long quick check clean
.DEFAULT_GOAL := install

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "mmforget needs Python 3.11 or newer; say which: make install PYTHON=python3.12" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install
	$(BIN)/mmforget run --model micro --tasks fiubench --methods ga,grad_diff,kl,po,npo --seeds 0,1,2 --attacks quick --output_path demo

test: install
	$(TESTING) --no-loadscope-reorder -m "not long"

test-long: install
	$(TESTING) --no-loadscope-reorder -m long

# No quick test reads a log; to catch them, pytest goes through every logger of torch three times a test.
quick: install
	$(BIN)/ruff check .
	$(TESTING) --quick -q -p no:logging tests

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) demo build dist .mypy_cache .ruff_cache .pytest_cache
