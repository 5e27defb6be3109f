# Needs only Python 3.11 or newer and make. Every target makes .venv if it must; `make PYTHON=python3.12 …` chooses another Python.

PYTHON ?= python3
# The tests start hundreds of programs: without bytecode kept, each would compile torch, gRPC and the desk from source.
unexport PYTHONDONTWRITEBYTECODE
# Two workers; a file stays on one, so its servers and fixtures are made once. Files with slow tests come first, as
# tests/conftest.py puts them.
PYTEST_ARGS ?= -n 2 --dist loadfile --no-loadscope-reorder
CHAOS_ARGS ?=
SOAK_TRIGGERS ?= 1000000
# Such as `--quick` or `--only latency`.
BENCH_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
# Versions are pinned in constraints.txt. Without --no-compile pip compiles every file of torch, most of which never run.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
DEMO := $(VENV)/.installed-demo
DEV := $(VENV)/.installed-dev

# Where magnetic-tile, mvtec-ad/screw, kolektor-sdd and x-sdd lie, for `make bench-training`.
DATA ?= data
# Where `make peer` puts anomalib, which `make bench-training` then measures beside our own models.
PEER ?= build/peer
# What GenICam cameras need is compiled: only where its headers are (deploy/install-test-tools.sh).
GENICAM := $(shell pkg-config --exists gobject-introspection-1.0 cairo 2>/dev/null && echo genicam,)
.PHONY: install demo test story bench bench-training peer chaos soak lint proto constraints clean

install: $(DEMO)

demo: $(DEMO)
	$(BIN)/inspector demo

test: $(DEV)
	$(BIN)/python -m pytest -m "not story" $(PYTEST_ARGS)

story: $(DEV)
	$(BIN)/python -m pytest tests/web/test_story.py

bench: $(DEV)
	$(BIN)/python -m tests.benchmarks $(BENCH_ARGS)

bench-training: $(DEV)
	$(BIN)/python -m tests.benchmarks.training $(DATA) $(if $(wildcard $(PEER)/bin/python),--peer $(PEER)/bin/python) $(BENCH_ARGS)

peer:
	@$(PYTHON) -m venv $(PEER)
	@echo "Installing anomalib into $(PEER): 2 GB …"
	@$(PEER)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile -r tests/benchmarks/peers/requirements.txt

chaos: $(DEV)
	$(BIN)/python -m tests.chaos $(CHAOS_ARGS)

soak: $(DEV)
	$(BIN)/python -m tests.chaos --soak $(SOAK_TRIGGERS)

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	cd proto && ../$(BIN)/buf lint

# Stubs of proto/ into inspector/v1 and inspector/inference/v2; the tests check that they are those of the pinned generator.
proto: $(DEV)
	$(BIN)/python -m grpc_tools.protoc -Iproto --python_out=. --pyi_out=. --grpc_python_out=. proto/inspector/v1/*.proto
	$(BIN)/python -m grpc_tools.protoc -Iproto --python_out=. --pyi_out=. proto/inspector/inference/v2/*.proto

# Newest versions that fit pyproject.toml, tried in an environment of their own. Run the tests before you commit them.
constraints:
	rm -rf build/constraints && $(PYTHON) -m venv build/constraints
	build/constraints/bin/pip install --quiet --disable-pip-version-check -e '.[training,backbones,web,cameras,genicam,gentl,postgres,elpv,openvino,dev]'
	echo "# Exact versions that the tests ran with (Python 3.11, x86-64). Written by \`make constraints\`." > constraints.txt
	build/constraints/bin/pip freeze --exclude-editable | sed 's/+[a-z0-9.]*$$//' >> constraints.txt

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .import_linter_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"Python 3.11 or newer is needed, $(PYTHON) is {v[0]}.{v[1]}: make PYTHON=python3.12")'
	@echo "Making $(VENV) …"
	@$(PYTHON) -m venv $(VENV)

$(DEMO): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing the inspector and its training tools into $(VENV): with a CPU build of torch about 250 MB, with CUDA gigabytes (README.md) …"
	@$(INSTALL) -e '.[training,web,cameras]'
	@touch $@

$(DEV): pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing the inspector, its training tools and what the tests need into $(VENV): a minute or three …"
	@$(INSTALL) -e '.[training,backbones,web,cameras,gentl,$(GENICAM)postgres,openvino,dev]'
	@touch $(DEMO) $@
