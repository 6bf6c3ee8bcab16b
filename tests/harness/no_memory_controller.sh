#!/bin/sh
# Runs a program where the kernel's memory controller is off, as Raspberry Pi OS starts it: cgroup v2 with all the rest.
set -eu
groups="$UMOCKDEV_DIR/sys/fs/cgroup"
mkdir -p "$groups/user.slice" "$UMOCKDEV_DIR/proc/self"
echo "0::/user.slice" >"$UMOCKDEV_DIR/proc/self/cgroup"
echo "30 24 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate" >"$UMOCKDEV_DIR/proc/self/mountinfo"
echo "cpuset cpu io pids" >"$groups/cgroup.controllers"
echo "cpu io pids" >"$groups/cgroup.subtree_control"
echo "cpu io pids" >"$groups/user.slice/cgroup.controllers"
echo "" >"$groups/user.slice/cgroup.subtree_control"
exec "$@"
