#!/bin/sh
# Builds the native programs of this folder into native/bin/NAME-ARCH, where a C compiler is present. Without one the
# bash launcher serves, and the control `lsm` reads `unavailable`.
set -eu
cd "$(dirname "$0")"
command -v cc >/dev/null 2>&1 || { echo "native: no C compiler (cc) here; the bash launcher serves" >&2; exit 0; }
arch=$(uname -m | sed 's/x86_64/x64/; s/aarch64/arm64/')
mkdir -p bin
for source in *.c; do
  [ "$source" = fuzz.c ] && continue
  name=${source%.c}
  built=bin/$name-$arch
  fresh=yes
  for part in "$source" *.h build.sh; do [ "$built" -nt "$part" ] || fresh=no; done
  [ "$fresh" = yes ] && continue
  # Static, so that it runs in any root; under another name until it is whole.
  if ! cc -O2 -static -std=gnu17 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wstrict-prototypes -Werror \
    -fstack-protector-strong -D_FORTIFY_SOURCE=2 -o "$built.$$" "$source" 2>"bin/$name.log"; then
    cat "bin/$name.log" >&2
    rm -f "$built.$$"
    echo "native: $source could not be built; the bash launcher serves" >&2
    exit 0
  fi
  rm -f "bin/$name.log"
  mv "$built.$$" "$built"
done
