#!/usr/bin/env bash
# The C tests on AArch64: cross-compiles the engine and tests/c, runs them under qemu on the generic
# and the NEON kernels with 1, 2 and 3 threads, and looks for spills in the NEON tiles. Correctness
# only: qemu's times mean nothing. Needs Debian's gcc-aarch64-linux-gnu and qemu-user.
set -euo pipefail
cd "$(dirname "$0")/.."
prefix=aarch64-linux-gnu
for tool in "$prefix-gcc" qemu-aarch64; do
    command -v "$tool" > /dev/null ||
        { echo "$tool is missing: apt-get install gcc-aarch64-linux-gnu qemu-user"; exit 1; }
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# setup.py's flags
flags=(-O3 -std=gnu11 -fno-math-errno -fno-trapping-math -fvisibility=hidden -fopenmp
       -Wall -Wextra -Werror -Wno-psabi -Icsrc)
printf '%s\n' csrc/*/*.c tests/c/*.c | xargs -P "$(nproc)" -I{} sh -c '
    source=$1; shift
    "$@" -c "$source" -o "$0/$(echo "$source" | tr / _).o"' "$work" {} "$prefix-gcc" "${flags[@]}"
"$prefix-gcc" -fopenmp "$work"/*.o -lm -lpthread -o "$work/engine_tests"

for isa in generic neon; do
    CNNFAST_ISA=$isa qemu-aarch64 -L "/usr/$prefix" "$work/engine_tests" "$isa" | tee "$work/log"
    grep -q "^took $isa$" "$work/log"
done
"${PYTHON:-python3}" -m pytest -q tests/test_disassembly.py -k neon
