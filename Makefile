# make demo: build a small dataset with the embedded miniature.   make test: run the test suite.
# Both set up a virtual environment first; they need Python 3.11 or newer and a package index.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Two test processes; tests.conftest.FileScheduling says what runs in the same one.
BOTH := -n 2 --dist loadscope
# Bytecode is kept, even where the environment says otherwise: both processes, and each that a test starts, would compile
# all modules and rewrite the assertions of all tests anew.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/pytest

.PHONY: demo test test-fast test-integration test-slow test-long test-faults check docs setup schemas wheels gpu-kit

demo: $(READY)
	$(BIN)/dentgen generate jobs/specs/demo.yaml

test: $(READY)
	$(PYTEST) -q $(BOTH) -m "not integration and not slow and not long and not faults"

# Neither the model nor Ray: under a minute. Other folders are not even collected, which would import their libraries.
FAST := cluster conditions documents parallel quality shards spec storage test_errors.py test_layout.py test_logs.py \
	test_progress.py test_records.py test_redaction.py test_seeding.py test_words.py
test-fast: $(READY)
	$(PYTEST) -q $(BOTH) -m "not ray and not integration and not slow and not long and not faults" $(addprefix tests/,$(FAST))

# What takes more than a second: builds of every kind, short trainings, pages in a browser, slower tests of everything.
test-integration: $(READY)
	$(PYTEST) -q $(BOTH) -m "integration and not slow and not long and not faults"

test-slow: $(READY)
	$(PYTEST) -q $(BOTH) -m slow

# A thousand phantoms, twenty thousand damaged inputs, a kill before every change of the disk, a storm of kills.
test-long: $(READY)
	$(BIN)/pytest -q -m long

# Every fault against one oracle, and planted faults that tests must notice; the first part needs no Ray.
test-faults: $(READY)
	$(BIN)/pytest -q $(BOTH) -m "faults and not long and not ray"
	$(BIN)/pytest -q -m "faults and not long and ray"

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The documentation as a site, in site/; nothing in it is fetched from elsewhere when it is read.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

schemas: $(READY)
	$(BIN)/dentgen schemas schemas

# What 'jobs/benchmark.py engine' needs beside torch and torch's own needs, for a machine that can fetch nothing:
# carry wheels/ there and 'pip install --no-index --no-deps --target site wheels/*.whl'.
WHEELS ?= \
	accelerate annotated-doc annotated-types anyio certifi charset-normalizer diffusers embreex h11 hf-xet \
	httpcore2 httpx2 huggingface_hub idna importlib_metadata jaxtyping markdown-it-py mdurl numpy packaging peft \
	pillow psutil pydantic pydantic_core Pygments PyYAML regex requests rich ruamel.yaml safetensors scipy \
	shellingham tokenizers tqdm transformers truststore typer typing-inspection typing_extensions urllib3 \
	wadler_lindig zipp
WHEELS_FOR ?= --python-version 3.12 --implementation cp --platform manylinux2014_x86_64 \
	$(foreach glibc,2_28 2_27 2_17,--platform manylinux_$(glibc)_x86_64)
WHEELS_IN ?= wheels

wheels:
	$(PYTHON) -m pip download --quiet --no-deps --only-binary=:all: $(WHEELS_FOR) --dest $(WHEELS_IN) \
		$(foreach name,$(WHEELS),$(or $(shell grep -i "^$(name)==" constraints.txt),$(error constraints.txt has no $(name))))

# A few minutes on a GPU machine that can fetch nothing: this repository and the wheels that a machine with torch,
# transformers, peft and scipy lacks, in gpu-kit/. Copy it there and run 'sh jobs/gpu.sh RESULTS SECONDS' in it.
GPU_WHEELS ?= annotated-types braceexpand diffusers embreex pydantic pydantic_core ruamel.yaml typing-inspection webdataset
gpu-kit:
	rm -rf gpu-kit && mkdir gpu-kit
	git archive HEAD dentgen jobs pyproject.toml constraints.txt README.md LICENSE | tar -x -C gpu-kit
	$(MAKE) --no-print-directory wheels WHEELS="$(GPU_WHEELS)" WHEELS_IN=gpu-kit/wheels
	du -sh gpu-kit

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(READY)
