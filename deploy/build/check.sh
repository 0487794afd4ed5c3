#!/usr/bin/env bash
# Everything that can be said about the repository without running it. All of it is run; what failed is told last.
set -uo pipefail
cd "$(dirname "$0")/../.."
export PATH="$PWD/.venv/bin:$PATH"

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
failed=()

step() { # NAME COMMAND...
    local name="$1" began=$SECONDS
    shift
    if "$@" >"$scratch/output" 2>&1; then
        printf 'ok    %-28s %3d s\n' "$name" $((SECONDS - began))
    else
        printf 'FAIL  %-28s %3d s\n' "$name" $((SECONDS - began))
        sed 's/^/      /' "$scratch/output"
        failed+=("$name")
    fi
}

stubs_are_those_of_the_protos() {
    deploy/build/generate.sh "$scratch/protogen" &&
        diff --recursive --brief --exclude=__pycache__ "$scratch/protogen/tokenway" libs/protogen/tokenway
}

schema_is_that_of_the_settings() {
    python deploy/build/config_schema.py >"$scratch/schema.json" &&
        diff "$scratch/schema.json" deploy/tokenway.schema.json
}

# What is compared with: the branch that others have, else the one here.
published() {
    git rev-parse --verify --quiet "${BREAKING_AGAINST:-origin/main}" ||
        git rev-parse --verify --quiet main
}

protos_break_nobody() {
    local base
    if ! base="$(published)" || ! git cat-file -e "$base:buf.yaml" 2>/dev/null; then
        echo "      (nothing to compare the protos with: no earlier ones on main)" >&3
        return
    fi
    buf breaking --against ".git#ref=$base"
}
exec 3>&1

step "format" ruff format --check .
step "lint" ruff check --output-format concise .
step "types" mypy
step "imports" lint-imports --no-logo
step "protos: lint" buf lint
step "protos: format" buf format --diff --exit-code
step "protos: breaking changes" protos_break_nobody
step "generated: stubs" stubs_are_those_of_the_protos
step "generated: schema" schema_is_that_of_the_settings
step "shipped configurations" check-jsonschema --schemafile deploy/tokenway.schema.json deploy/tokenway.{example,compose}.yaml
step "images" hadolint deploy/Dockerfile
step "compose file" check-jsonschema --builtin-schema vendor.compose-spec deploy/compose.yaml
step "commit hooks" pre-commit validate-config

if ((${#failed[@]})); then
    printf 'failed: %s\n' "${failed[*]}" >&2
    echo "(make fmt mends the format and what lint can; make generate the generated files)" >&2
    exit 1
fi
