#!/bin/sh
# gVisor's runsc from Debian's backports: the one in Debian 12 itself is of 2022 and cannot hand descriptors on. The
# mirror and its keyring are those that this machine's own sources name. Needs root; says what it does, and why not.
set -eu
say() { printf '%s\n' "setup: $*" >&2; }
recent() { command -v runsc >/dev/null 2>&1 && runsc help run 2>&1 | grep -q -e '-pass-fd'; }
recent && exit 0
without() { say "$*; the tests in gVisor are left out"; exit 0; }
[ "$(id -u)" = 0 ] || without "runsc is not installed, and only root can"
command -v apt-get >/dev/null 2>&1 || without "runsc is not installed, and there is no apt-get here"

codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
suite=$codename-backports

# "URI KEYRING" of the first source for this release, from deb822 files or from one-line ones.
own_source() {
  cat /etc/apt/sources.list.d/*.sources 2>/dev/null | awk -v suite="$codename" '
    function flush() { if (!found && (" " suites " ") ~ " " suite " ") { print uri, key; found = 1 } uri = key = suites = "" }
    /^$/ { flush() }
    /^URIs:/ { uri = $2 }
    /^Signed-By:/ { key = $2 }
    /^Suites:/ { $1 = ""; suites = $0 }
    END { flush() }'
  cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null | awk -v suite="$codename" '
    $1 == "deb" {
      key = ""; at = 2
      if ($2 ~ /^\[/) {
        while (at <= NF) { if (match($at, /signed-by=[^]]*/)) key = substr($at, RSTART + 10, RLENGTH - 10); if ($at ~ /\]$/) break; at++ }
        at++
      }
      if ($(at + 1) == suite) { print $at, key; exit }
    }'
}

log=$(mktemp)
extra=/etc/apt/sources.list.d/callgate-backports.sources
trap 'rm -f "$log" "$extra"' EXIT
if ! apt-cache policy | grep -q "n=$suite"; then
  # shellcheck disable=SC2046 # two words
  set -- $(own_source | head -n 1)
  [ $# -ge 1 ] || without "apt's sources name no mirror for \`$codename\`"
  say "adding $suite from this machine's own mirror, for this installation only"
  {
    printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\n' "$1" "$suite"
    [ $# -lt 2 ] || printf 'Signed-By: %s\n' "$2"
  } >"$extra"
fi
say "installing from Debian: runsc ($suite)"
if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends -t "$suite" runsc; } >"$log" 2>&1; then
  without "that failed ($(tail -n 1 "$log"))"
fi
recent || without "the runsc that was installed is too old"
