#!/bin/sh
# Installs the system packages that the tests need, if it runs as root on Debian or Ubuntu. Otherwise it prints which
# packages are missing. Tests skip missing programs, so nothing here is an error.

PATH="$PATH:/usr/sbin" # the folder of mariadbd and nginx, which is not on every user's path
policy=/usr/sbin/policy-rc.d

missing() {
    have mariadbd || echo mariadb-server-core mariadb-client-core # the programs without the service
    have redis-server || echo redis-server
    have nginx || echo nginx-light
    have chromium || echo chromium
    have fc-list && fc-list :lang=zh | grep -q . || echo fontconfig fonts-noto-cjk
}

have() {
    command -v "$1" >/dev/null
}

# The tests start their own servers. Therefore no installed service may run, now or after a reboot.
without_services() {
    if [ ! -e "$policy" ]; then
        trap 'rm -f "$policy"' EXIT
        trap 'exit 1' INT TERM
        printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
    fi
    "$@"
    for service in redis-server nginx; do
        case "$packages" in *"$service"*) systemctl disable --quiet "$service" 2>/dev/null ;; esac
    done
}

# One at a time, so that a package that the distribution does not have does not prevent the others.
install_each() {
    apt-get update -qq
    for package in "$@"; do
        DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends "$package" >/dev/null
    done
}

packages=$(missing | tr '\n' ' ')
[ -n "$packages" ] || exit 0

if [ "$(id -u)" = 0 ] && have apt-get; then
    echo "Installing for the tests: $packages"
    without_services install_each $packages
    packages=$(missing | tr '\n' ' ')
    [ -n "$packages" ] || exit 0
fi

echo "Some tests are skipped because packages are missing. On Debian or Ubuntu: sudo apt-get install $packages" >&2
