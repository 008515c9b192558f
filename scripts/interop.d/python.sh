# To be sourced: sets python to a Python with the original server and what it imports, in a virtual environment in the
# user's cache, which is made when it is not there. INTEROP_PYTHON names another Python to make it with.

requirements=${BASH_SOURCE[0]%/*}/requirements.txt
system=
for candidate in ${INTEROP_PYTHON:-python3.11 python3 python3.12 python3.13 python3.10 python3.9}; do
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
        system=$candidate
        break
    fi
done
if [ -z "$system" ]; then
    echo "$0: needs Python 3.9 or newer with the modules venv and ensurepip, and finds none; on Debian: apt-get install python3 python3-venv" >&2
    echo "$0: nothing else of pyvnode needs Python; \"make test\" checks against recordings of the original" >&2
    exit 1
fi

version=$("$system" -c 'import platform; print(platform.python_version(), platform.machine())')
cache=${XDG_CACHE_HOME:-$HOME/.cache}/pyvnode
env=$cache/interop-$({ echo "$version"; cat "$requirements"; } | cksum | cut -d' ' -f1)
mkdir -p "$cache"
(
    flock 9 # two at once would delete each other's
    if [ ! -e "$env/complete" ]; then
        rm -rf "$env"
        "$system" -m venv "$env"
        timeout 300 "$env/bin/pip" install --quiet --disable-pip-version-check --no-deps --only-binary :all: --require-hashes --requirement "$requirements"
        touch "$env/complete"
    fi
) 9>"$env.lock"
python=$env/bin/python
echo "Python $version, in $env"
