#!/bin/sh
# Makes deploy/secrets: passwords, URLs, the broker's file of users, and the list of credentials to hand out.
# Makes what is missing and leaves the rest: run it again after a programme or a provider was added. --help says more.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

for python in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
    if "$python" -c 'import tomllib' 2>/dev/null; then
        exec "$python" "$here/make_secrets.py" "$@"
    fi
done
echo "make-secrets.sh: Python 3.11 or newer is needed (it reads the programmes' TOML files); name one with PYTHON=..." >&2
exit 1
