#!/usr/bin/env bash
# The Python of protos/, into libs/protogen or the folder named. Messages only: services and clients here use
# generic handlers and typed methods, which are faster than generated servicers (grpc's registered methods).
set -euo pipefail
cd "$(dirname "$0")/../.."

into="${1:-libs/protogen}"
scratch="$(mktemp -d "$(dirname "$into")/.protogen.XXXXXX")"
trap 'rm -rf "$scratch"' EXIT

# Sorted, so that the same protos give the same bytes on every machine.
find protos -name '*.proto' -print0 | LC_ALL=C sort -z |
    PATH="$PWD/.venv/bin:$PATH" xargs -0 .venv/bin/python -m grpc_tools.protoc \
        --proto_path=protos --python_out="$scratch" --mypy_out=quiet:"$scratch"

# Made whole beside the old ones, so that a proto that does not compile leaves the stubs as they were.
mkdir -p "$into"
rm -rf "$into/tokenway"
mv "$scratch/tokenway" "$into/tokenway"
