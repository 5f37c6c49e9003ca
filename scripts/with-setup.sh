#!/bin/sh
# Sets up what is missing, says what it does, then runs one of the project's jobs. Needs Node (any version) and npm.
set -eu
cd "$(dirname "$0")/.."
job=${1:-setup}

say() { printf '%s\n' "setup: $*" >&2; }

# 1. npm packages, Node 24 among them.
stamp=node_modules/.callgate-setup
if [ ! -f "$stamp" ] || ! cmp -s package-lock.json "$stamp"; then
  say "installing npm packages (Node 24 is one of them, about 130 MB; once)"
  npm ci --no-audit --no-fund --loglevel=error >&2
  cp package-lock.json "$stamp"
fi
PATH="$PWD/node_modules/.bin:$PATH"
export PATH
if ! node --version 2>/dev/null | grep -q '^v24\.'; then
  # npm may refuse the install script of the `node` package; it only unpacks this one beside it.
  say "fetching Node 24 by name"
  version=$(node -p 'require("./package.json").devDependencies.node')
  machine=$(uname -m | sed 's/x86_64/x64/; s/aarch64/arm64/')
  npm install --no-save --no-audit --no-fund --loglevel=error "node-linux-$machine@$version" >&2
  mkdir -p node_modules/node/bin
  ln -sf "../../node-linux-$machine/bin/node" node_modules/node/bin/node
  ln -sf ../node/bin/node node_modules/.bin/node
fi

# 2. Programs from Debian: command, package.
missing=
need() { command -v "$1" >/dev/null 2>&1 || missing="$missing $2"; }
need bwrap bubblewrap
need rg ripgrep
need git git
need jq jq
if [ "$job" = test ] || [ "$job" = ok ] || [ "$job" = bench ]; then
  # For the native launcher, and to hold our seccomp compiler against libseccomp.
  need cc gcc
  [ -e /usr/include/stdio.h ] || missing="$missing libc6-dev"
  [ -e /usr/include/seccomp.h ] || missing="$missing libseccomp-dev"
  need perl perl-base
  need newuidmap uidmap
  need runc runc
fi
# Real clients and servers for the tests of egress, which start their own; Go and Java are used where they are.
if [ "$job" = test ] || [ "$job" = ok ]; then
  need curl curl
  need redis-server redis-server
  ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing="$missing postgresql"
  need psql postgresql-client
  need ip iproute2
  need openssl openssl
  [ -x /usr/sbin/sshd ] || missing="$missing openssh-server"
  need ssh openssh-client
  [ -e /usr/lib/python3/dist-packages/requests ] || missing="$missing python3-requests"
  [ -e /usr/lib/python3/dist-packages/pip ] || missing="$missing python3-pip"
fi
# The tests in a VM need root besides; without it they are left out, and say so.
vm=
if [ "$(id -u)" = 0 ] && [ "$(uname -m)" = x86_64 ] && { [ "$job" = test ] || [ "$job" = ok ]; }; then
  vm=node_modules/.callgate-vm
  need qemu-system-x86_64 qemu-system-x86
  # The VM's first file system has no libraries.
  { busybox=$(command -v busybox) && ! grep -q /ld-linux "$busybox"; } || missing="$missing busybox-static"
  need apparmor_parser apparmor
  need runc runc
fi
# A Docker daemon of the tests' own, which only root can start; without it they are left out, and say so.
if [ "$(id -u)" = 0 ] && { [ "$job" = test ] || [ "$job" = ok ] || [ "$job" = bench ]; }; then
  need dockerd docker.io
  need setpriv util-linux
  # The image that they make has no libraries.
  { busybox=$(command -v busybox) && ! grep -q /ld-linux "$busybox"; } || missing="$missing busybox-static"
fi
if [ -n "$missing" ]; then
  install="apt-get install -y --no-install-recommends$missing"
  if [ "$(id -u)" = 0 ]; then as=; elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then as=sudo; else as=none; fi
  if [ "$as" = none ] || ! command -v apt-get >/dev/null 2>&1; then
    say "these programs are missing:$missing"
    say "install them with:  sudo apt-get update && sudo $install"
    exit 69
  fi
  say "installing from Debian:$missing"
  # These would start daemons, docker.io one that changes this host's network; the tests start their own.
  policy=
  case $missing in
  *docker.io* | *redis-server* | *postgresql* | *openssh-server*) [ -e /usr/sbin/policy-rc.d ] || policy=/usr/sbin/policy-rc.d ;;
  esac
  if [ -n "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $as tee "$policy" >/dev/null
    $as chmod 755 "$policy"
    trap '$as rm -f "$policy"' EXIT
  fi
  log=$(mktemp)
  if ! { DEBIAN_FRONTEND=noninteractive $as apt-get update && DEBIAN_FRONTEND=noninteractive $as $install; } >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    say "that failed; install them by hand:  sudo apt-get update && sudo $install"
    exit 69
  fi
  rm -f "$log"
  [ -z "$policy" ] || { $as rm -f "$policy"; trap - EXIT; }
fi

if [ "$job" = test ] || [ "$job" = ok ] || [ "$job" = bench ]; then sh scripts/install-runsc.sh; fi

# 3. The native launcher, where there is a compiler.
sh native/build.sh

# 4. Debian's cloud kernel for the VM: unpacked beside the npm packages, never installed.
if [ -n "$vm" ] && [ ! -e "$vm/boot" ] && command -v apt-get >/dev/null 2>&1; then
  draft=$(mktemp -d)
  fetch_kernel() {
    kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
    [ -n "$kernel" ] && (cd "$draft" && apt-get download "$kernel")
  }
  say "fetching Debian's cloud kernel for the tests in a VM (about 26 MB; once)"
  if { fetch_kernel || { apt-get update && fetch_kernel; }; } >"$draft/log" 2>&1 &&
    dpkg-deb -x "$draft"/*.deb "$draft/files" && mkdir -p "$draft/vm" &&
    mv "$draft/files/boot" "$draft/vm/boot" && { mv "$draft/files/lib" "$draft/vm/lib" || mv "$draft/files/usr/lib" "$draft/vm/lib"; }; then
    rm -rf "$vm"
    mv "$draft/vm" "$vm"
  else
    say "that failed ($(tail -n 1 "$draft/log")); the tests in a VM are left out"
  fi
  rm -rf "$draft"
fi

case $job in
setup) say "everything is here" ;;
demo) exec node bin/callgate.js demo ;;
test)
  shift
  exec node scripts/test.mjs "$@"
  ;;
ok) exec node scripts/ok.mjs ;;
bench)
  shift
  exec node bench/all.ts "$@"
  ;;
*)
  say "there is no job \`$job\`"
  exit 64
  ;;
esac
