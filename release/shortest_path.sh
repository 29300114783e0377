#!/bin/sh
# The shortest way through papertune: shortest_path.sh PAPERTUNE FOLDER. A few rows of the sample papers, a few steps.
set -eu
papertune=$1
work=$2
rm -rf "$work"
mkdir -p "$work"
head -n 41 examples/papers.csv > "$work/papers.csv"
head -n 5 examples/papers_new.csv > "$work/new.csv"
head -n 5 examples/papers_new_truth.csv > "$work/truth.csv"
$papertune doctor > "$work/doctor.txt"
$papertune completion bash > "$work/completion.bash"
bash -n "$work/completion.bash"
_PAPERTUNE_COMPLETE=complete_bash COMP_WORDS="papertune pred" COMP_CWORD=1 $papertune | grep -qx predict
$papertune check "$work/papers.csv" -r examples/demo.toml > "$work/check.txt"
$papertune train "$work/papers.csv" -r examples/demo.toml -o "$work/run" --set training.max_steps=3 --quiet
$papertune predict "$work/run" "$work/new.csv" -o "$work/filled.csv" --quiet
$papertune predict "$work/run" "$work/new.csv" -o "$work/filled.xlsx" --quiet
$papertune predict "$work/run" "$work/new.csv" -o "$work/filled.parquet" --quiet
# The same as a folder of parts, in two shards; one of them has no part.
mkdir "$work/parts"
cp "$work/filled.parquet" "$work/parts/part-0.parquet"
for shard in 1/2 2/2; do
    $papertune predict "$work/run" "$work/parts/part-0.parquet" -o "$work/filled-parts" --shard $shard --quiet
done
test -s "$work/filled-parts/part-0.parquet"
$papertune evaluate "$work/run" "$work/new.csv" --truth "$work/truth.csv" --predictions "$work/filled.csv" \
    --baselines "$work/papers.csv" -o "$work/report" > "$work/scores.txt"
# The page answers, and ends with the signal.
$papertune serve "$work/run" --work "$work/work" --port 0 --token release-check > "$work/serve.txt" &
server=$!
trap 'kill $server 2> /dev/null || true' EXIT
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    grep -q 'open http' "$work/serve.txt" && break
    sleep 1
done
grep -q 'open http' "$work/serve.txt"
