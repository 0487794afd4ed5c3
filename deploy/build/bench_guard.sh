#!/usr/bin/env bash
# How well the guards find what they look for, beside two libraries in an environment of their own (0.4 GB, in .tools).
set -euo pipefail
cd "$(dirname "$0")/../.."
source deploy/build/uv.sh

libraries=".tools/guard-libraries-$(sha256sum requirements/guard-libraries.txt | cut -c1-12)"
scratch="$libraries.new"

made() { # Whole or not at all
    rm -rf "$scratch"
    "$uv" venv --quiet --python .venv/bin/python --relocatable "$scratch" &&
        "$uv" pip install --quiet --python "$scratch/bin/python" --require-hashes -r requirements/guard-libraries.txt &&
        mv "$scratch" "$libraries"
}

if [[ -d "$libraries" ]] || made; then
    export GUARD_LIBRARIES_PYTHON="$PWD/$libraries/bin/python"
else
    echo "the libraries cannot be had (see above): ours alone" >&2
fi
exec .venv/bin/python -m tests.bench guard "$@"
