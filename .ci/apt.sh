# Sourced: may packages be installed here without asking, and how. Silent unless it fails.

may_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

apt_install() {
    local log
    log=$(mktemp)
    echo "installing $* (apt-get)"
    if ! { apt-get update && apt-get install -y --no-install-recommends "$@"; } >"$log" 2>&1 </dev/null; then
        tail -n 5 "$log" >&2
        echo "warning: could not install $*" >&2
    fi
    rm -f "$log"
}

export DEBIAN_FRONTEND=noninteractive
