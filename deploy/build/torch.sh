# Sourced after uv.sh: install_torch PYTHON, the pinned CPU build of PyTorch, which PyPI does not have.
# shellcheck shell=bash

install_torch() {
    local python="$1" tag version folder from=(--torch-backend cpu) # uv's name for PyTorch's own index
    tag="$("$python" -c 'import sys; print("cp%d%d" % sys.version_info[:2])')"
    version="$(sed -n 's/^torch==\([^ ]*\).*/\1/p' requirements/torch-cpu.txt)"
    for folder in ${UV_FIND_LINKS:-} $(pip_setting find-links); do
        if compgen -G "$folder/torch-$version-$tag-*.whl" >/dev/null; then
            from=(--no-index --find-links "$folder")
        fi
    done
    "$uv" pip install --python "$python" --no-deps --require-hashes "${from[@]}" -r requirements/torch-cpu.txt
}
