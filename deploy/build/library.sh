# Sourced after uv.sh, from the repository's root: other people's libraries, measured beside ours, in environments of
# their own in .tools.
# shellcheck shell=bash

library() { # NAME VARIABLE: exports the Python that has requirements/NAME.txt, unless that cannot be had
    local folder
    folder=".tools/$1-$(sha256sum "requirements/$1.txt" | cut -c1-12)"
    if [[ -d "$folder" ]] || library_made "$1" "$folder"; then
        export "$2=$PWD/$folder/bin/python"
    else
        echo "what is in requirements/$1.txt cannot be had (see above): ours alone" >&2
    fi
}

library_made() { # NAME FOLDER: whole or not at all
    rm -rf "$2.new"
    "$uv" venv --quiet --python .venv/bin/python --relocatable "$2.new" &&
        "$uv" pip install --quiet --python "$2.new/bin/python" --require-hashes -r "requirements/$1.txt" &&
        mv "$2.new" "$2"
}
