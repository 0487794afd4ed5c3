# Sourced by the other scripts: sets `uv`, and what it needs to reach the registry that pip reaches.
# shellcheck shell=bash

uv_minimum=0.13 # the first that was run with these pins

# uv does not read pip's configuration; where a machine says there which registry or folder to use, pass it on.
pip_setting() { # NAME: its value from pip's environment variable or configuration, or nothing
    local variable="PIP_${1^^}"
    variable="${variable//-/_}"
    if [[ -n "${!variable:-}" ]]; then
        printf '%s\n' "${!variable}"
    else
        python3 -m pip config get "global.$1" 2>/dev/null || true
    fi
}

uv_runs() { # BINARY: it starts, and is recent enough
    local version
    version="$("$1" --version 2>/dev/null | awk '{print $2}')" && [[ -n "$version" ]] || return 1
    printf '%s\n%s\n' "$uv_minimum" "$version" | sort --version-sort --check=quiet
}

without_names() { # uv's report without a line for each package
    grep -vE '^ ([+~-] | ?Downloaded )' || true
}

# A private uv from its pinned wheel. pip goes into a throw-away environment and only the binary is kept; the
# rename is atomic, so a set-up that was killed or that runs twice leaves no half of it.
uv_bootstrap() {
    local kept scratch
    kept=".tools/uv-$(sha256sum requirements/uv.txt | cut -c1-12)"
    if ! uv_runs "$kept"; then
        if ! python3 -c 'from ensurepip import version' 2>/dev/null; then
            echo "error: python3 has no venv. On Debian or Ubuntu: apt-get install python3-venv" >&2
            return 1
        fi
        mkdir -p .tools
        scratch="$(mktemp -d .tools/bootstrap.XXXXXX)"
        echo "fetching uv, the installer ..." >&2
        python3 -m venv "$scratch/venv"
        "$scratch/venv/bin/python" -m pip --disable-pip-version-check install -qq --require-hashes \
            --only-binary :all: -r requirements/uv.txt
        mv -f "$scratch/venv/bin/uv" "$kept"
        rm -rf "$scratch"
    fi
    printf '%s\n' "$PWD/$kept"
}

if [[ -z "${UV_SYSTEM_CERTS:-}" && -e /etc/ssl/certs/ca-certificates.crt ]]; then
    export UV_SYSTEM_CERTS=true # uv's own certificates know no company registry
fi
if [[ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]]; then
    registry="$(pip_setting index-url)"
    [[ -z "$registry" ]] || export UV_DEFAULT_INDEX="$registry"
fi
if [[ -n "${UV:-}" ]]; then
    uv="$UV"
elif uv_runs "$(command -v uv || true)"; then
    uv="$(command -v uv)"
else
    uv="$(uv_bootstrap)"
fi
