#!/bin/sh
# Runs a program as on a described Raspberry Pi: describe_pi.sh MODEL REVISION PROGRAM ARGUMENT...
# Under umockdev, $UMOCKDEV_DIR/proc stands in front of /proc for the files that are there. REVISION is octal escapes.
set -eu
tree="$UMOCKDEV_DIR/proc/device-tree"
mkdir -p "$tree/system"
printf '%s\0' "$1" >"$tree/model"
printf "$2" >"$tree/system/linux,revision"
shift 2
exec "$@"
