#!/bin/sh
# Stands between cargo and rustc (RUSTC_WRAPPER): our own crates are compiled so that the fuzzer sees which branches
# were taken and what was compared. Libraries are not: they are not what is tested, and arithmetic that takes other
# ways for every number would fill the corpus with noise and take nine tenths of the time.
set -eu

case " $* " in
*" --crate-name virtual_openpgp_card "* | *" --crate-name touchgate "* | *" --crate-name touchgate_fuzz "* | *"/fuzz_targets/"* | *" fuzz_targets/"*)
    exec "$@" --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares
    ;;
*) exec "$@" ;;
esac
