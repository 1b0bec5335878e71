#!/bin/sh
# Builds the fuzz targets with coverage and runs each of them: run.sh SECONDS [TARGET…]. Needs stable Rust and a C++
# compiler. What is found stays in target/fuzz/corpus, from which the next run goes on; a crash is left beside it.
set -eu
cd "$(dirname "$0")"

seconds=${1:?seconds for each target}
shift
[ $# -gt 0 ] || set -- $(cd fuzz_targets && echo *.rs | sed 's/\.rs//g')

# as cargo-fuzz has them; for the host by name, so that build scripts are built without
host=$(rustc -vV | sed -n 's/^host: //p')
export RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Ccodegen-units=4 \
  -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
  -Cllvm-args=-sanitizer-coverage-pc-table \
  -Cllvm-args=-sanitizer-coverage-trace-compares"
out=../target/fuzz
cargo build --release --locked --target "$host" --target-dir "$out"

for target in "$@"; do
  corpus=$out/corpus/$target
  mkdir -p "$corpus"
  log=$out/$target.log
  echo "fuzz: $target for $seconds s"
  if ! "$out/$host/release/$target" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=512 -max_len=4096 \
    -artifact_prefix="$out/$target-" -print_final_stats=1 "$corpus" "seeds/$target" >"$log" 2>&1; then
    tail -n 40 "$log" >&2
    exit 1
  fi
  # without instrumentation the fuzzer would only guess
  counters=$(sed -n 's/^INFO: Loaded .*(\([0-9]*\) inline 8-bit counters).*/\1/p' "$log")
  covered=$(sed -n 's/^#.*DONE *cov: \([0-9]*\).*/\1/p' "$log")
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  if [ "${counters:-0}" -lt 1000 ] || [ "${covered:-0}" -lt 100 ]; then
    echo "fuzz: $target ran without coverage: ${counters:-no} counters, ${covered:-none} reached" >&2
    exit 1
  fi
  echo "fuzz: $target: $runs runs, $covered places reached, no failure"
done
