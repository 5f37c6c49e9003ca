# Second program of the test VM, with the host's files below it: cgroup v2 alone, AppArmor with the profile loaded, then
# the jobs. What the jobs print goes over the second serial port, line by line.
PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TMPDIR=/tmp
export PATH HOME TMPDIR
. /callgate-vm-job
# Kept open: the driver of the port empties its queue whenever it is opened for the first time.
exec 3>/dev/ttyS1
umount /sys/fs/cgroup 2>/dev/null
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t securityfs securityfs /sys/kernel/security
mkdir -p /dev/shm /dev/pts
mount -t devpts devpts /dev/pts
case $REPOSITORY in /tmp/*) ;; *) mount -t tmpfs -o mode=1777 tmp /tmp ;; esac
mount -t tmpfs run /run
mount -t tmpfs shm /dev/shm
ip link set lo up
cd "$REPOSITORY" || busybox poweroff -f
# The user of the delegated group reads the repository wherever it lies; these are this VM's folders, not the host's.
folder=$REPOSITORY
while [ "$folder" != / ]; do chmod o+rx "$folder" && folder=$(dirname "$folder"); done
apparmor_parser -rK native/apparmor/callgate || echo "vm: the AppArmor profile cannot be loaded" >/dev/console

# Runs test files in one process; their results, one JSON object a line, then how it ended.
run() {
  name=$1
  shift
  echo "{\"job\":\"$name\",\"begins\":$(cut -d' ' -f1 /proc/uptime)}" >&3
  "$@" >/dev/console 2>&1
  echo "{\"job\":\"$name\",\"status\":$?,\"ends\":$(cut -d' ' -f1 /proc/uptime)}" >&3
}

as_root() { run root "$NODE" --disable-warning=ExperimentalWarning test/vm/run.ts "$@"; }

# As systemd does for a session: a group whose files the user owns, the session in a leaf of it.
delegated() {
  group=/sys/fs/cgroup/session
  echo "+memory +pids +cpu" >/sys/fs/cgroup/cgroup.subtree_control
  mkdir $group $group/shell
  chown 1234:1234 $group $group/shell
  for file in cgroup.procs cgroup.subtree_control cgroup.threads; do chown 1234:1234 $group/$file $group/shell/$file; done
  chmod 0666 /dev/ttyS1
  mkdir -p /tmp/home && chown 1234:1234 /tmp/home
  run delegated sh -c 'echo $$ >/sys/fs/cgroup/session/shell/cgroup.procs && exec "$@"' sh \
    setpriv --reuid 1234 --regid 1234 --clear-groups env HOME=/tmp/home \
    "$NODE" --disable-warning=ExperimentalWarning test/vm/run.ts "$@"
}

eval "$JOBS"
echo '{"done":true}' >&3
busybox poweroff -f
