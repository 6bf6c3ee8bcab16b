#!/bin/sh
# Runs a program and fails with 99 where it changed any file of the described /sys.
set -eu
look() { find "$UMOCKDEV_DIR" -type f -exec cksum {} + | sort; }
before=$(look)
"$@"
[ "$before" = "$(look)" ] || exit 99
