#!/bin/sh
# Sets up $VENV from the pinned, hashed requirements. On Debian and Ubuntu a part of `venv` is a package of its own: root gets
# it installed, for anyone else the environment is made without it.
set -eu
: "${PYTHON:=python3}" "${VENV:=.venv}"

if ! command -v "$PYTHON" >/dev/null 2>&1; then
    echo "No $PYTHON here: install Python 3.11 or newer, or name one with  make PYTHON=/path/to/python3" >&2
    exit 1
fi
if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    echo "$PYTHON is $("$PYTHON" -V 2>&1), and Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11" >&2
    exit 1
fi
# Makes the environment without Debian's python3-venv: pip comes out of a package that anyone may download.
venv_without_ensurepip() {
    wheels=$(mktemp -d)
    (cd "$wheels" && apt-get download -qq python3-pip-whl >/dev/null 2>&1 && dpkg -x python3-pip-whl_*.deb .) || return 1
    pip=$(ls "$wheels"/usr/share/python-wheels/pip-*.whl) || return 1
    "$PYTHON" -m venv --without-pip "$VENV" && "$VENV/bin/python" "$pip/pip" install --quiet --no-index "$pip"
    rm -rf "$wheels"
}

if [ ! -x "$VENV/bin/pip" ]; then
    if ! "$PYTHON" -c 'import ensurepip, venv' >/dev/null 2>&1 && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
    fi
    if "$PYTHON" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        "$PYTHON" -m venv "$VENV"
    elif ! venv_without_ensurepip; then
        rm -rf "$VENV"
        echo "Python's venv module is missing. Once:  sudo apt-get install -y python3-venv" >&2
        exit 1
    fi
fi
echo "Installing the pinned requirements into $VENV ..."
"$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
"$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
