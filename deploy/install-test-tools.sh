#!/usr/bin/env bash
# Installs the programs that the tests use and pip cannot: PostgreSQL, mbpoll, promtool, systemd-analyze, openssl, ip, a C
# compiler, make, Python's venv, node with node-opcua (into ~/.cache/inspector-tests), Chromium, an RTSP server, strace, Aravis and
# what it is compiled with. Debian and Ubuntu.
# Does nothing, quickly, when all of them are there.
set -euo pipefail

have_postgres() {
    command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null
}

packages=()
have_postgres || packages+=(postgresql)
command -v mbpoll >/dev/null || packages+=(mbpoll)
command -v strace >/dev/null || packages+=(strace)
command -v promtool >/dev/null || packages+=(prometheus)
command -v systemd-analyze >/dev/null || packages+=(systemd)
command -v openssl >/dev/null || packages+=(openssl)
command -v ip >/dev/null || [ -x /usr/sbin/ip ] || packages+=(iproute2)
command -v cc >/dev/null || packages+=(gcc libc6-dev)
command -v make >/dev/null || packages+=(make)
python3 -c 'import ensurepip' 2>/dev/null || packages+=(python3-venv)
command -v node >/dev/null || packages+=(nodejs)
command -v npm >/dev/null || packages+=(npm)
command -v chromium >/dev/null || packages+=(chromium fonts-dejavu-core)
compgen -G '/usr/lib/*/girepository-1.0/Aravis-0.8.typelib' >/dev/null || packages+=(gir1.2-aravis-0.8)
compgen -G '/usr/lib/*/girepository-1.0/GstRtspServer-1.0.typelib' >/dev/null ||
    packages+=(gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good)
command -v pkg-config >/dev/null || packages+=(pkg-config)
pkg-config --exists gobject-introspection-1.0 cairo 2>/dev/null || packages+=(libgirepository1.0-dev libcairo2-dev)

foreign="$(cd "$(dirname "$0")/../tests/opcua/foreign" && pwd)"
node_opcua="${XDG_CACHE_HOME:-$HOME/.cache}/inspector-tests/node-opcua"

install_node_opcua() {
    if cmp -s "$foreign/package.json" "$node_opcua/package.json" && [ -d "$node_opcua/node_modules/node-opcua-client" ]; then
        return
    fi
    echo "Installing node-opcua into $node_opcua …"
    mkdir -p "$node_opcua"
    (cd "$node_opcua" && rm -f package-lock.json && cp "$foreign"/package*.json . && npm ci --silent --no-audit --no-fund)
}

if [ ${#packages[@]} -eq 0 ]; then
    install_node_opcua
    exit 0
fi

root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "Missing: ${packages[*]}. Installing them needs root: run this script as root, or install them yourself." >&2
        exit 1
    fi
    root=(sudo)
fi
if ! command -v apt-get >/dev/null; then
    echo "Missing: ${packages[*]}. This script knows only apt-get: install them with your own package manager." >&2
    exit 1
fi
echo "Installing ${packages[*]} …"
"${root[@]}" apt-get update -qq
"${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
install_node_opcua
