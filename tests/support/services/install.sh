#!/bin/sh
# Installs what the tests need from the system, as root on Debian or Ubuntu; elsewhere it says what
# is missing. Tests skip what is not there, so nothing here is an error.

PATH="$PATH:/usr/sbin" # where mariadbd and nginx lie, which is not on everyone's path
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

# The tests start their own servers: nothing that is installed here may run, now or after a reboot.
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

# One by one: a name that a distribution does not know must not cost the others.
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

echo "Tests are skipped for want of these. On Debian or Ubuntu: sudo apt-get install $packages" >&2
