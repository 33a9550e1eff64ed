# From a bare machine (Python >= 3.11 with venv, g++, make) to a trained GAN: `make demo`. To tested: `make test`.
PYTHON ?= python3
VENV   ?= .venv
TORCH  ?= torch          # e.g. TORCH=torch==2.13.0 for one particular version
WORKERS ?= 2             # processes that run the tests
DIST   ?= dist           # where make dist puts what it makes
PIP    := $(VENV)/bin/python -m pip --disable-pip-version-check
PLUGINS := $(wildcard plugins/gankit-plugin-*)
SOURCES := pyproject.toml setup.py $(wildcard csrc/*.h csrc/*.cpp csrc/cpu/* csrc/cuda/*) $(PLUGINS:%=%/pyproject.toml)

# Kernels for a GPU that is not here take minutes and serve nobody. GANKIT_CUDA=1 builds them all the same.
ifeq ($(TORCH_CUDA_ARCH_LIST)$(shell timeout 10 nvidia-smi -L 2>/dev/null | grep '^GPU '),)
export GANKIT_CUDA ?= 0
endif

.PHONY: demo install test uitest lint ctest docs dist bench clean
.DELETE_ON_ERROR:

demo: install            ## build, install, train StackGAN on captioned digits, draw its sample sheet
	$(VENV)/bin/gankit run stackgan --stage 2

install: $(VENV)/.gankit ## build and install gankit and its plugins, editable
	@echo "gankit is installed in $(VENV). Next: source $(VENV)/bin/activate"

# torch comes first: the kernels compile against the torch that will run them
$(VENV)/.torch:
	@echo "Installing torch and building gankit into $(VENV), in two to six minutes."
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --upgrade pip "setuptools>=77" wheel numpy ninja "pybind11>=2.12" $(strip $(TORCH))
	touch $@

$(VENV)/.gankit: $(VENV)/.torch $(SOURCES)
	@test "$$GANKIT_CUDA" != 0 || echo "Without CUDA kernels: no NVIDIA GPU was found. GANKIT_CUDA=1 make -B install builds them."
	PYTHONWARNINGS=ignore $(PIP) install --quiet --no-build-isolation -e ".[tensorboard]" $(PLUGINS:%=-e ./%)
	touch $@

$(VENV)/.dev: $(VENV)/.gankit
	$(PIP) install --quiet --group dev
	touch $@

# Processes of one thread each; more than two would not fit on a small GPU. A file's tests stay together: they share what
# is trained. With WORKERS=0 all run in this process, as --pdb and -s need.
test: $(VENV)/.dev       ## every test of the core and of the plugins
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile $(PYTEST_ARGS)

# Gradio holds Pillow back: what the page needs has an environment of its own, which sees all that is in the other
$(VENV)-ui/.ui: $(VENV)/.dev
	$(PYTHON) -m venv $(VENV)-ui
	$(VENV)/bin/python -c "import sysconfig as s; print('import site; site.addsitedir(%r)' % s.get_path('purelib'))" \
	  > $$($(VENV)-ui/bin/python -c "import sysconfig as s; print(s.get_path('purelib'))")/gankit-ui.pth
	$(PIP) --python $(VENV)-ui install --quiet --group ui
	touch $@

uitest: $(VENV)-ui/.ui   ## gankit ui and its server, and by clicks and keys in Chromium, if there is one
	OMP_NUM_THREADS=1 $(VENV)-ui/bin/python -m pytest tests/ui $(PYTEST_ARGS)

lint: $(VENV)/.dev       ## style, types, and which way imports run
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache

ctest: $(VENV)/.dev      ## the kernels without Python, under AddressSanitizer and UBSan
	PATH="$(abspath $(VENV))/bin:$$PATH" cmake --preset asan-ubsan -DPython_EXECUTABLE=$(abspath $(VENV))/bin/python
	PATH="$(abspath $(VENV))/bin:$$PATH" cmake --build --preset asan-ubsan
	PATH="$(abspath $(VENV))/bin:$$PATH" ctest --preset asan-ubsan --parallel $$(nproc)

$(VENV)/.docs: $(VENV)/.gankit
	$(PIP) install --quiet --group docs
	touch $@

docs: $(VENV)/.docs      ## the site, in build/site; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --quiet

$(VENV)/.dist: $(VENV)/.torch pyproject.toml
	$(PIP) install --quiet --group dist
	touch $@

# GANKIT_CUDA=1: the CUDA wheel too. What earlier builds left in $(DIST) is replaced, other files stay.
dist: $(VENV)/.dist      ## source distributions and wheels of gankit and its plugins, in dist/; docs/releasing.md
	$(VENV)/bin/python tools/dist.py --out $(DIST) $(if $(filter 1,$(GANKIT_CUDA)),--cuda)

bench: install           ## kernels against a plain copy, eager torch and torch.compile
	$(VENV)/bin/gankit bench ops

clean:
	rm -rf $(VENV) $(VENV)-ui build *.egg-info plugins/*/*.egg-info gankit/_C*.so
