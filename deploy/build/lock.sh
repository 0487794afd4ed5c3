#!/usr/bin/env bash
# Writes the hashed pins anew. Versions stay as they are unless a range asks otherwise; UPGRADE=1 takes the newest.
set -euo pipefail
cd "$(dirname "$0")/../.."
source deploy/build/uv.sh

compile() {
    "$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
        --custom-compile-command "make lock" "$@"
}

# One resolution for everything, then each file is a part of it: no two files can disagree.
whole="$(mktemp)"
trap 'rm -f "$whole"' EXIT
cat requirements/{base,dev,engine-cpu}.txt >"$whole" 2>/dev/null || true
compile ${UPGRADE:+--upgrade} pyproject.toml requirements/dev.in --extra all --output-file "$whole"

part() { # NAME ARGUMENTS...: written whole or not at all
    local name="$1"
    shift
    compile --constraints "$whole" --no-annotate "$@" --output-file "requirements/.$name.txt.new"
    mv "requirements/.$name.txt.new" "requirements/$name.txt"
}
part base pyproject.toml --extra router --extra cache --extra budget --extra inference-openai --extra mesh
part engine-cpu pyproject.toml --extra inference-cpu
# What an image needs, service by service.
for service in router cache budget mesh; do
    part "$service" pyproject.toml --extra "$service"
done
part inference pyproject.toml --extra inference-openai
part inference-gpu pyproject.toml requirements/inference-gpu.in --extra inference-openai
part build requirements/build.in
part dev requirements/dev.in
part model requirements/model.in
part encoder requirements/encoder.in
# In environments of their own: they need not agree with the others.
for libraries in guard-libraries cache-library; do
    compile --no-annotate "requirements/$libraries.in" --output-file "requirements/$libraries.txt"
done
part uv requirements/uv.in

# Apart from the rest: vLLM as its authors list it, which our own cannot be in one resolution with.
compile --no-config ${UPGRADE:+--upgrade} --no-annotate --override requirements/provider-overrides.txt \
    requirements/provider.in --output-file requirements/provider.txt
