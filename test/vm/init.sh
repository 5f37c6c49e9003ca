#!/bin/busybox sh
# First program of the test VM. Finds the host's files, read-only, lays a file system of its own over them, goes on there.
B=/bin/busybox
fail() { echo "vm: $*" >/dev/console; $B poweroff -f; }
. /job
$B mkdir -p /proc /sys /dev /host /own /root
$B mount -t proc proc /proc
$B mount -t sysfs sys /sys
$B mount -t devtmpfs dev /dev
for module in $MODULES; do
  $B insmod "/modules/$module.ko" || fail "the module $module cannot be loaded"
done
$B mount -t virtiofs -o ro host /host || fail "the host's files cannot be mounted"
$B mount -t tmpfs own /own
$B mkdir /own/upper /own/work
$B mount -t overlay -o lowerdir=/host,upperdir=/own/upper,workdir=/own/work root /root || fail "no overlay"
for path in proc sys dev; do $B mount --move /$path /root/$path; done
$B cp /job /root/callgate-vm-job
exec $B switch_root /root /bin/sh "$REPOSITORY/test/vm/inside.sh"
