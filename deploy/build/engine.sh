#!/usr/bin/env bash
# What vLLM's CPU library needs from the system and no wheel brings. Says so at once, not after a long set-up.
set -euo pipefail

if ! python3 -c 'import ctypes; ctypes.CDLL("libnuma.so.1")' 2>/dev/null; then
    echo "error: vLLM on the CPU needs the system library libnuma.so.1. On Debian or Ubuntu:" >&2
    echo >&2
    echo "    apt-get install libnuma1" >&2
    exit 1
fi
