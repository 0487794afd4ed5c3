#!/usr/bin/env bash
# How well the guards find what they look for, beside two libraries in an environment of their own (0.4 GB, in .tools).
set -euo pipefail
cd "$(dirname "$0")/../.."
source deploy/build/uv.sh
source deploy/build/library.sh

library guard-libraries GUARD_LIBRARIES_PYTHON
exec .venv/bin/python -m tests.bench guard "$@"
