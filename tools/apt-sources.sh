# shellcheck shell=sh
# How this machine reaches Debian's packages, for trees of another release: sourced by what calls mmdebstrap.

# apt_sources SUITE FOLDER: writes the machine's own package sources for that release into FOLDER; prints the file's path.
apt_sources() {
    own_suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    mkdir -p "$2"
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources; do
        [ ! -f "$file" ] || sed "s/\\b$own_suite/$1/g" "$file" >"$2/$(basename "$file")"
    done
    find "$2" -type f -size +0 | head -n 1
}

# apt_access TREE: lets apt in the tree go the machine's way (proxies, certificates).
apt_access() {
    apt-config dump | grep '^Acquire' >"$1/etc/apt/apt.conf.d/90machine" || true
    cp -r /usr/local/share/ca-certificates/. "$1/usr/local/share/ca-certificates/" 2>/dev/null || true
}
