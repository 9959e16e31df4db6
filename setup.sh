# What ./demo and ./check share; read with ".", never run. Debian and Ubuntu.
#
#   setup_packages    says what it is about to install, installs it, and only what is missing
#   setup_build DIR [MESON OPTION…]    configures and builds
#   setup_peers       a Python environment with the projects that tests compare with, if it can be had
#   setup_cublas MODULE    finds cuBLASLt for a GPU module that was built elsewhere

PACKAGES="gcc g++ libc6-dev meson ninja-build pkg-config python3 python3-venv clang-format
    zlib1g-dev libzstd-dev libcurl4-openssl-dev libcjson-dev libpcre2-dev libunistring-dev libyaml-dev libssl-dev
    libxxhash-dev libzip-dev libsnappy-dev liblz4-dev libisal-dev libcmocka-dev"

say() { printf '%s\n' "$*" >&2; }
die() { say "$0: $*"; exit 1; }

setup_packages() {
    command -v dpkg-query >/dev/null ||
        die "only Debian and Ubuntu are set up by themselves; install the packages named in setup.sh"
    missing=""
    for p in $PACKAGES; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing="$missing $p"
    done
    [ -n "$missing" ] || return 0
    root=""
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || die "needs$missing: install them, or run this as root"
        root=sudo
    fi
    say "installing with apt-get:$missing"
    $root apt-get update -q >/dev/null || say "the list of packages could not be refreshed; going on"
    # shellcheck disable=SC2086
    $root env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing >/dev/null ||
        die "apt-get could not install$missing"
}

# The system's Python, not one of a version manager: meson and the tests' tools belong to it.
setup_build() {
    dir=$1
    shift
    mkdir -p "$dir"
    if [ -f "$dir/build.ninja" ]; then
        meson configure "$dir" "$@" >/dev/null || die "meson configure $dir failed"
    else
        meson setup "$dir" "$@" >"$dir/build.log" 2>&1 || { cat "$dir/build.log" >&2; die "meson setup $dir failed"; }
    fi
    ninja -C "$dir" >"$dir/build.log" 2>&1 || { tail -n 60 "$dir/build.log" >&2; die "the build failed"; }
}

# The toolkit may lie elsewhere here than where the module was built; PyTorch brings the library, too.
setup_cublas() {
    missing=$(ldd "$1" | awk '/cublasLt.*not found/ { print $1; exit }')
    [ -n "$missing" ] || return 0
    packages=$(python3 -c 'import sysconfig; print(sysconfig.get_paths()["platlib"])' 2>/dev/null)
    for dir in /usr/local/cuda*/lib64 /usr/local/cuda*/targets/*/lib /opt/cuda/lib64 "$packages"/nvidia/*/lib; do
        [ -e "$dir/$missing" ] || continue
        LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$dir"
        export LD_LIBRARY_PATH
        return 0
    done
    die "$1 needs $missing, which is not on this machine"
}

# Sets LORY_PYTHON. Tests that need a package which is not there skip and say so.
setup_peers() {
    venv="${LORY_PEERS:-build-peers}"
    if [ ! -x "$venv/bin/python" ]; then
        say "installing from PyPI, for the comparisons: $PEERS"
        python3 -m venv "$venv" >/dev/null 2>&1 || { say "no Python environment; comparisons will skip"; return 0; }
    fi
    # shellcheck disable=SC2086
    "$venv/bin/python" -c "import tokenizers, numpy, safetensors, huggingface_hub, datasets, datasketch" 2>/dev/null ||
        "$venv/bin/pip" install -q --disable-pip-version-check $PEERS >/dev/null 2>&1 ||
        say "the peers could not be installed; comparisons with them will skip"
    LORY_PYTHON="$(cd "$venv/bin" && pwd)/python"
    export LORY_PYTHON
}
PEERS="tokenizers tiktoken numpy safetensors tensorboard zstandard huggingface_hub datasets pyarrow datasketch"
