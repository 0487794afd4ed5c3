#!/usr/bin/env bash
# The environment in .venv, exactly as pinned: services, tools, vLLM for the CPU with its torch, and this checkout.
# A no-op when the pins are those of the last time; what to rebuild is told by hashes, not by time stamps.
set -euo pipefail
cd "$(dirname "$0")/../.."
unset VIRTUAL_ENV PYTHONPATH PYTHONHOME CONDA_PREFIX # an active environment must not leak into this one

venv="$PWD/.venv"
python="$venv/bin/python"
pins="$(cat requirements/{base,dev,engine-cpu,torch-cpu}.txt "$0" | sha256sum) $PWD"
project="$(sed -n '/^\[build-system\]/,/^\[tool.uv\]/p' pyproject.toml | sha256sum)"

if [[ "$(cat "$venv/.pins" 2>/dev/null)" == "$pins" && "$(cat "$venv/.project" 2>/dev/null)" == "$project" ]] &&
    "$python" -c '' 2>/dev/null; then
    exit 0
fi

source deploy/build/uv.sh
source deploy/build/torch.sh

if compgen -G "$venv/lib/python3*/site-packages/vllm-[0-9]*.dist-info" >/dev/null; then
    echo "error: .venv holds vLLM for GPUs, which shares its folder with the CPU build." >&2
    echo "       Keep the GPU engine in an environment of its own, remove .venv and try again." >&2
    exit 1
fi

# One set-up at a time: two terminals, or a task and a commit hook.
exec {lock}>".venv.lock"
flock "$lock"

if [[ "$(cat "$venv/.pins" 2>/dev/null)" != "$pins" ]] || ! "$python" -c '' 2>/dev/null; then
    rm -f "$venv/.pins" "$venv/.project"
    if ! "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
        # 3.11 is what the tests run on; the others are pinned and taken where it is missing.
        for wanted in "${PYTHON:-3.11}" ">=3.11,<3.14"; do
            if "$uv" venv --quiet --clear --no-python-downloads --python "$wanted" "$venv" 2>/dev/null; then
                break
            fi
        done
        if [[ ! -x "$python" ]]; then
            echo "error: no Python 3.11, 3.12 or 3.13 here. On Debian or Ubuntu: apt-get install python3 python3-venv" >&2
            exit 1
        fi
    fi
    echo "installing the pinned packages into .venv ..." >&2
    "$uv" pip sync --python "$python" --require-hashes requirements/{base,dev,engine-cpu}.txt 2> >(without_names >&2)

    # torch comes second, because a sync with the rest would look for it in PyPI.
    install_torch "$python" 2> >(without_names >&2)
    printf '%s\n' "$pins" >"$venv/.pins"
fi

# This checkout itself: the `tokenway` command and the source roots.
"$uv" pip install --quiet --python "$python" --no-deps --no-build-isolation --editable .
printf '%s\n' "$project" >"$venv/.project"
