#!/bin/sh
# What `make demo` and `make test` need before they can do the rest: says what is missing and how to get it.
python=$1
missing() {
    echo "cpool: $1" >&2
    echo "  Debian/Ubuntu: apt-get install $2    Fedora: dnf install $3    macOS: $4" >&2
    exit 1
}
command -v "$python" >/dev/null 2>&1 ||
    missing "no Python found as '$python' (or name one: make PYTHON=...)" "python3 python3-venv python3-dev" "python3-devel" "brew install python"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    missing "$("$python" --version) is too old: 3.10 or newer is needed (name one: make PYTHON=python3.12)" "python3" "python3" "brew install python"
"$python" -c 'import ensurepip, venv' >/dev/null 2>&1 ||
    missing "Python's venv module is missing" "python3-venv" "python3" "brew install python"
header=$("$python" -c 'import sysconfig; print(sysconfig.get_path("include") + "/Python.h")')
[ -f "$header" ] || missing "Python's C headers are missing ($header)" "python3-dev" "python3-devel" "brew install python"
command -v "${CC:-cc}" >/dev/null 2>&1 || command -v gcc >/dev/null 2>&1 ||
    missing "no C compiler found as '${CC:-cc}'" "build-essential" "gcc" "xcode-select --install"
