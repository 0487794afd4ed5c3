#!/usr/bin/env bash
# What deploy/compose.yaml needs and no repository may have: keys, certificates, the mesh token. Into deploy/secrets, or the
# folder named; nothing that is there is made anew, so delete a file to have it replaced.
set -euo pipefail
umask 077

source="$(cd "$(dirname "$0")" && pwd)"
into="${1:-$source/secrets}"
mkdir -p "$into"
chmod 0700 "$into" # it may have been there
cd "$into"

random() { openssl rand -hex 32; }

make_once() { # FILE COMMAND...: whole or not at all
    local file="$1"
    shift
    if [[ ! -e "$file" ]]; then
        "$@" >".$file.new"
        mv ".$file.new" "$file"
        echo "made $into/$file" >&2
    fi
}

certificate() { # NAME HOST...: signed by itself, so whoever trusts it trusts nothing else
    local name="$1" hosts
    shift
    [[ ! -e "$name.crt" || ! -e "$name.key" ]] || return 0
    hosts="$(printf 'DNS:%s,' "$@")"
    rm -f "$name.key" "$name.crt" # one of them without the other
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$name.key"
    openssl req -x509 -key "$name.key" -days 825 -subj "/CN=$1" -addext "subjectAltName=${hosts%,}" -out "$name.crt"
    echo "made $into/$name.crt and $name.key, for $*" >&2
}

mesh_token() { echo "TOKENWAY_MESH_TOKEN=$(random)"; }
admin_key() { echo "TOKENWAY_API_KEY=tw_$(random)"; }
configuration() {
    local hash
    hash="$(sed 's/^TOKENWAY_API_KEY=//' admin.env | tr -d '\n' | sha256sum | cut -d' ' -f1)"
    sed "s/0\{64\}/$hash/; /# No key has this hash/d" "$source/tokenway.compose.yaml"
}

make_once mesh.env mesh_token
make_once admin.env admin_key
make_once grafana-password random
make_once tokenway.yaml configuration
certificate router localhost router
certificate otel otel-collector

# The folder is its owner's alone. The files are mounted into containers whose user is another: Compose mounts them as they
# are.
chmod 0444 ./*
chmod 0400 ./*.env # read by Compose itself
