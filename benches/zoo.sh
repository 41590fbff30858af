#!/usr/bin/env bash
# Lets every kind of bad client loose on a server with its default bounds, beside 1000 good clients, and writes
# zoo.md, zoo.json and zoo.svg to benches/results. Then it soaks the server and writes zoo-soak.md, .json and .svg.
# The exit code is 1 when an attack had an effect on the good clients or the server's memory grew.
#
#   benches/zoo.sh                      takes about ten minutes, and the soak half an hour
#   EACH=1s SOAK=60s RESULTS=/tmp benches/zoo.sh
#   SOAK= benches/zoo.sh                no soak
set -euo pipefail
cd "$(dirname "$0")/.."

EACH=${EACH:-3s}
SOAK=${SOAK-30m}
RESULTS=${RESULTS:-benches/results}

cargo build --release --locked -p roomcast -p loadtest
LOADTEST=${CARGO_TARGET_DIR:-target}/release/loadtest
code=0
"$LOADTEST" zoo --spawn --each "$EACH" --results "$RESULTS" || code=$?
if [[ $SOAK ]]; then
  "$LOADTEST" zoo --spawn --soak "$SOAK" --results "$RESULTS" || code=$?
fi
exit "$code"
