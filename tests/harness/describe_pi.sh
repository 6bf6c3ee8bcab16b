#!/bin/sh
# Runs a program as on a described Raspberry Pi: describe_pi.sh MODEL REVISION PROGRAM ARGUMENT...
# Under umockdev, $UMOCKDEV_DIR/proc stands in front of /proc for the files that are there. REVISION is octal escapes.
# The firmware reports no throttling, the governor is 'ondemand' at 48 °C; ~/testbed, or $TESTBED, names the tree, for a test that changes it while the program
# runs.
set -eu
tree="$UMOCKDEV_DIR/proc/device-tree"
mkdir -p "$tree/system"
printf '%s\0' "$1" >"$tree/model"
printf "$2" >"$tree/system/linux,revision"
case "$1" in
"Raspberry Pi 5"*) soc="soc@107c000000" ;;
*) soc="soc" ;;
esac
firmware="$UMOCKDEV_DIR/sys/devices/platform/$soc/$soc:firmware"
mkdir -p "$firmware"
echo 0 >"$firmware/get_throttled"
mkdir -p "$UMOCKDEV_DIR/sys/devices/system/cpu/cpu0/cpufreq" "$UMOCKDEV_DIR/sys/class/thermal/thermal_zone0"
echo ondemand >"$UMOCKDEV_DIR/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
echo 48000 >"$UMOCKDEV_DIR/sys/class/thermal/thermal_zone0/temp"
echo "$UMOCKDEV_DIR" >"${TESTBED:-$HOME/testbed}"
shift 2
exec "$@"
