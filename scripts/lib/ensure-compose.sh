#!/usr/bin/env bash
# Finds something that checks a compose file, and prints its command: `docker compose` or `docker-compose`, as installed,
# from the cache, or last Debian's package and what it needs, unpacked into the cache. Nothing is installed: that would
# change the system and need root. No Docker engine is needed, `config` only reads.
#
# usage: ensure-compose.sh [--no-fetch]    prints the command on stdout, or says why there is none on stderr and ends with 1
set -u

cache="${SLUICE_CACHE:-${XDG_CACHE_HOME:-${HOME:-/tmp}/.cache}/sluice}/docker-compose"

fail() {
  printf 'no docker compose: %s\n' "$1" >&2
  exit 1
}

works() { "$@" version >/dev/null 2>&1 </dev/null; }

if [ -n "${SLUICE_DOCKER_COMPOSE:-}" ]; then
  # Unquoted: it may be the two words `docker compose`.
  # shellcheck disable=SC2086
  works $SLUICE_DOCKER_COMPOSE || fail "SLUICE_DOCKER_COMPOSE names '$SLUICE_DOCKER_COMPOSE', which does not run"
  printf '%s\n' "$SLUICE_DOCKER_COMPOSE"
  exit 0
fi
for command in 'docker compose' docker-compose "$cache/docker-compose"; do
  case "$command" in
    'docker compose') works docker compose || continue ;;
    *) works "$command" || continue ;;
  esac
  printf '%s\n' "$command"
  exit 0
done
[ "${1:-}" != --no-fetch ] || fail 'none is installed, and none in the cache'
# Debian's own Python: its package is made for that one, and apt counts with what is installed for it.
for needed in apt-get dpkg /usr/bin/python3; do
  command -v "$needed" >/dev/null || fail "none is installed, and without $needed Debian's cannot be had"
done

new="$cache.new.$$"
trap 'rm -rf "$new"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
mkdir -p "$new/packages" || fail "cannot write to $cache"
printf 'fetching docker-compose from the Debian archive (once)\n' >&2

# What apt would install here, by name: exactly what this machine lacks.
lacking() {
  apt-get install --print-uris -qq --no-install-recommends docker-compose 2>"$new/log" </dev/null |
    sed -n "s/^'[^']*' \([^_ ]*\)_.*/\1/p"
}
names=$(lacking)
if [ -z "$names" ]; then
  # A fresh container has no package lists yet; only root may fetch them.
  [ "$(id -u)" -eq 0 ] && apt-get update -qq >"$new/log" 2>&1 </dev/null && names=$(lacking)
  [ -n "$names" ] || fail "Debian's package is not to be had: $(tail -n 1 "$new/log")"
fi
# shellcheck disable=SC2086
(cd "$new/packages" && apt-get download -qq $names >"$new/log" 2>&1 </dev/null) ||
  fail "Debian's package cannot be fetched: $(tail -n 1 "$new/log")"
for package in "$new"/packages/*.deb; do
  dpkg -x "$package" "$new/root" || fail "$package cannot be unpacked"
done
rm -rf "$new/packages" "$new/log"

cat >"$new/docker-compose" <<'WRAPPER'
#!/bin/sh
here=$(cd "$(dirname "$0")" && pwd -P)
PYTHONPATH="$here/root/usr/lib/python3/dist-packages$(printf ':%s' "$here"/root/usr/lib/python3.*)"
export PYTHONPATH
exec /usr/bin/python3 "$here/root/usr/bin/docker-compose" "$@"
WRAPPER
chmod +x "$new/docker-compose"
works "$new/docker-compose" || fail "Debian's does not run on this machine: $("$new/docker-compose" version 2>&1 | tail -n 1)"
rm -rf "$cache"
mv "$new" "$cache"
printf '%s\n' "$cache/docker-compose"
