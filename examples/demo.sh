#!/bin/sh
# The whole way on the sample papers: train, predict, score, report. Everything goes into demo/.
set -eu
papertune=.venv/bin/papertune
rm -rf demo
mkdir demo
$papertune train examples/papers.csv -r examples/demo.toml -o demo/run
$papertune predict demo/run examples/papers_new.csv -o demo/submit.csv --columns uuid,Keywords,label
$papertune evaluate demo/run examples/papers_new.csv --truth examples/papers_new_truth.csv \
    --predictions demo/submit.csv --baselines examples/papers.csv -o demo
echo
echo "the filled table: demo/submit.csv"
echo "the report:       demo/report.html"
echo "the model:        demo/run"
echo "the page:         $papertune serve demo/run --work demo/work"
