#!/usr/bin/env bash
# run.sh PROGRAM NAME MOST_BYTES: fuzzes for INFERPOOL_FUZZ_SECONDS (5; 0: the known inputs alone) from
# the seeds in corpus/NAME and what earlier runs found beside the program. What fails is kept there.
# The same program goes the same way each time, so that a find belongs to a change and not to chance;
# INFERPOOL_FUZZ_SEED=0 takes another way every time.
set -euo pipefail

program=$1 name=$2 most_bytes=$3
seconds=${INFERPOOL_FUZZ_SECONDS:-5}
here=$(cd "$(dirname "$0")" && pwd)
found=$(dirname "$program")/../fuzz/$name
mkdir -p "$found/corpus" "$found/failures"
found=$(cd "$found" && pwd)

options=(-max_len="$most_bytes" -rss_limit_mb=2048 -timeout=10 -seed="${INFERPOOL_FUZZ_SEED:-1}"
  -artifact_prefix="$found/failures/")
if [ "$seconds" = 0 ]; then
  options+=(-runs=0)
else
  options+=(-max_total_time="$seconds")
fi
# A model file may ask for more memory than there is, which the runtime has to survive. A few bytes of
# its own it loses where a file is refused.
null=0 leaks=1
if [ "$name" = onnx ]; then
  null=1 leaks=0
  options+=(-malloc_limit_mb=1000000)
fi
[ ! -e "$here/$name.dict" ] || options+=(-dict="$here/$name.dict")

export ASAN_OPTIONS=allocator_may_return_null=$null:detect_leaks=$leaks:detect_stack_use_after_return=1
export UBSAN_OPTIONS=print_stacktrace=1
status=0
"$program" "${options[@]}" "$found/corpus" "$here/corpus/$name" >"$found/log" 2>&1 || status=$?
if [ "$status" != 0 ]; then
  tail -n 60 "$found/log"
  echo "To reproduce it: $program FILE, where FILE is the written test unit that is named above."
  exit "$status"
fi
tail -n 2 "$found/log"
