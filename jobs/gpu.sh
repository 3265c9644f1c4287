#!/bin/sh
# Uses a few minutes of a GPU, without a network: sh jobs/gpu.sh RESULTS [SECONDS] in the folder that 'make gpu-kit' made.
set -e
results=$1
seconds=${2:-540}
python3 -m pip install --quiet --no-index --no-deps --upgrade --target work/site "${WHEELS:-wheels}"/*.whl
PYTHONPATH=work/site:. exec python3 -m dentgen benchmark gpu "$results" --seconds "$seconds" $REHEARSE
