#!/bin/sh
# Builds the fuzz targets and runs each: first its whole corpus, then new inputs for FUZZ_SECONDS.
#   run.sh [TARGET…]        all of them unless named; seeds/ has what a person wrote
#   run.sh merge [TARGET…]  makes corpus/ anew: the fewest inputs, found here or there before, that reach everything
# What a run finds stays in target/corpus/; an input that breaks something is in artifacts/ and ends this with 1.
set -eu

cd "$(dirname "$0")"
merge=no
if [ "${1:-}" = merge ]; then
    merge=yes
    shift
fi
[ $# -gt 0 ] || set -- $(cd corpus && ls)

# A folder where no other program is built: what is not instrumented would run just as well, and see nothing.
RUSTC_WRAPPER="$PWD/instrument.sh" "${CARGO:-cargo}" build --release --locked --quiet --target-dir target/instrumented

for name in "$@"; do
    found="target/corpus/$name"
    mkdir -p "$found" "artifacts"
    # A card takes 30 MB and an input some milliseconds: far above is a leak or a loop.
    set -- -rss_limit_mb=256 -timeout=30 "-artifact_prefix=artifacts/$name-"
    [ ! -f "$name.dict" ] || set -- "$@" "-dict=$name.dict"
    seeds=""
    [ ! -d "seeds/$name" ] || seeds="seeds/$name"
    if [ "$merge" = yes ]; then
        rm -rf "target/merged"
        mkdir "target/merged"
        "target/instrumented/release/$name" "$@" -set_cover_merge=1 -use_counters=0 \
            target/merged "corpus/$name" "$found" 2>"target/$name.log"
        rm -rf "corpus/$name"
        mv target/merged "corpus/$name"
        echo "$name: $(ls "corpus/$name" | wc -l) inputs, $(du -sb "corpus/$name" | cut -f1) bytes"
        continue
    fi
    # What holds a card has state to get into; what only parses has seen most of it after its corpus.
    seconds=${FUZZ_SECONDS:-15}
    case $name in apdus | commands | state | vpcd) ;; *) seconds=$(((seconds + 2) / 3)) ;; esac
    if ! "target/instrumented/release/$name" "$@" "-max_total_time=$seconds" -print_final_stats=1 \
        "$found" "corpus/$name" $seeds 2>"target/$name.log"; then
        tail -n 40 "target/$name.log" >&2
        echo "fuzz: $name broke; run it again with fuzz/target/instrumented/release/$name fuzz/artifacts/$name-…" >&2
        exit 1
    fi
    # Inputs run; branches and features seen, of how many; corpus; inputs a second; memory.
    all=$(sed -n 's/.*(\([0-9]*\) inline 8-bit counters).*/\1/p' "target/$name.log" | head -n 1)
    sed -n "s/^#\([0-9]*\)\tDONE *cov: \([0-9]*\)/$name: \1 inputs, cov: \2 of $all/p" "target/$name.log"
done
