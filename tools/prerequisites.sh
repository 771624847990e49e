#!/bin/sh
# Prints the Python to build cpool with: the one named, or the first of several that has all it takes.
# If there is none, says what is missing and how to get it, and fails.
set -u
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT

lacks() { # what, and the packages of Debian, Fedora and macOS that bring it
    printf 'cpool: %s\n  Debian, Ubuntu: apt-get install %s   Fedora: dnf install %s   macOS: %s\n' "$1" "$2" "$3" "$4"
}

examine() { # a Python that runs: prints what it lacks, if anything
    name="$1 ($("$1" -c 'import platform; print(platform.python_version())' 2>/dev/null))"
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || {
        lacks "$name is too old: Python 3.10 or newer is needed (another one: make PYTHON=...)" \
            python3 python3 "brew install python"
        return
    }
    "$1" -c 'import ensurepip, venv' 2>/dev/null || {
        lacks "$name has no working venv module" python3-venv python3 "brew install python"
        return
    }
    include=$("$1" -c 'import sysconfig; print(sysconfig.get_path("include"))')
    [ -f "$include/Python.h" ] || {
        lacks "$name has no C headers (Python.h)" python3-dev python3-devel "brew install python"
        return
    }
    # the compiler that setuptools will take
    compiler=${CC:-$("$1" -c 'import sysconfig; print(sysconfig.get_config_var("CC") or "cc")')}
    printf '#include <stdio.h>\n#include <Python.h>\n' >"$work/probe.c"
    # shellcheck disable=SC2086  # CC may hold options
    if ! command -v ${compiler%% *} >/dev/null; then
        lacks "no C compiler: '${compiler%% *}' is not there (another one: make CC=...)" \
            build-essential gcc "xcode-select --install"
    elif ! $compiler -I"$include" -c "$work/probe.c" -o "$work/probe.o" 2>"$work/errors"; then
        lacks "the C compiler '$compiler' cannot build a module for Python: $(grep -m 1 error "$work/errors")" \
            "build-essential python3-dev" "gcc python3-devel" "xcode-select --install"
    fi
}

for python in ${1:-python3 python3.14 python3.13 python3.12 python3.11 python3.10 python}; do
    "$python" -c '' 2>/dev/null || continue
    examine "$python" >"$work/lacking"
    if [ ! -s "$work/lacking" ]; then
        echo "$python"
        exit 0
    fi
    [ -s "$work/first" ] || cp "$work/lacking" "$work/first"
done

[ -s "$work/first" ] || lacks "no Python found${1:+ as '$1'}: 3.10 or newer is needed" \
    "python3 python3-venv python3-dev" python3-devel "brew install python" >"$work/first"
cat "$work/first" >&2
exit 1
