#!/bin/sh
# Runs a program where nobody may read the counters of a described powercap tree, nor open a described hidraw device:
# root is kept out by taking its right to overlook the mode of a file.
set -eu
find "$UMOCKDEV_DIR" \( -path '*/sys/*' -name energy_uj -o -path '*/dev/hidraw*' \) -exec chmod 0 {} +
if [ "$(id -u)" = 0 ]; then
  exec setpriv --bounding-set=-dac_override,-dac_read_search "$@"
fi
exec "$@"
