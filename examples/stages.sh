#!/bin/sh
# All stages of training on the sample papers. Everything goes into stages/; the extra papertune[rl] is needed.
# The papers of each step are disjoint, so that no step is judged by papers that an earlier one has learned:
# 1-128 are read and learned, 129-168 teach the reward model, 169-176 judge it, 177-248 are what dpo and rloo learn from,
# and the new papers score everything.
set -eu
papertune=${PAPERTUNE:-.venv/bin/papertune}
recipe=examples/stages.toml
new="examples/papers_new.csv --truth examples/papers_new_truth.csv"
rm -rf stages
mkdir stages

papers() { # FIRST LAST FILE: these papers of the table; no cell of it has a line break
    { head -n 1 examples/papers.csv; tail -n +2 examples/papers.csv | sed -n "$1,$2p"; } > "stages/$3"
}
papers 1 128 learn.csv
papers 129 168 pairs.csv
papers 169 176 judge.csv
papers 177 248 feedback.csv

# 1. Read: continued pre-training on titles and abstracts, without any keywords. The perplexity is that of papers whose
# keywords are not learned yet.
$papertune train stages/learn.csv -r $recipe -o stages/pt --stage pt --dev stages/feedback.csv

# 2. Be instructed: learn the keywords, from where reading has ended.
$papertune train stages/learn.csv -r $recipe -o stages/sft --stage sft --set method.start_from=stages/pt
$papertune evaluate stages/sft $new -o stages/sft-report

# 3. A reward model from synthetic pairs, judged by those of other papers.
$papertune prefer stages/pairs.csv -r $recipe --synthesise -o stages/pairs.jsonl
$papertune prefer stages/judge.csv -r $recipe --synthesise -o stages/judge.jsonl
$papertune train stages/pairs.jsonl -r $recipe -o stages/rm --stage rm --set method.start_from=stages/sft \
    --dev stages/judge.jsonl --set training.max_steps=16
$papertune evaluate stages/rm stages/judge.jsonl -o stages/rm-report

# 4. The best of eight answers by that reward, beside the greedy one.
$papertune predict stages/sft examples/papers_new.csv -o stages/best.csv --best-of 8 --reward stages/rm
$papertune evaluate stages/sft $new --predictions stages/best.csv -o stages/best-report

# 5. Learn from corrections: what the run wrote for other papers, beside what their authors wrote.
$papertune predict stages/sft stages/feedback.csv -o stages/filled.csv --columns uuid,Keywords
$papertune prefer stages/filled.csv stages/feedback.csv -r $recipe -o stages/corrections.jsonl
$papertune train stages/corrections.jsonl -r $recipe -o stages/dpo --stage dpo --set method.start_from=stages/sft \
    --set training.max_steps=12
$papertune evaluate stages/dpo $new -o stages/dpo-report

# 6. Learn from rewards of the model's own answers: F1 against the authors' keywords.
$papertune train stages/feedback.csv -r $recipe -o stages/rloo --stage rloo --set method.start_from=stages/sft \
    --dev stages/judge.csv --set training.max_steps=6
$papertune evaluate stages/rloo $new -o stages/rloo-report

echo
echo "the reports: stages/*-report/report.html"
