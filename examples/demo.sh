#!/bin/sh
# The main job, from weights to a verdict: port a GPT-2 and a BERT and prove them equal.
# `make demo` runs this; it needs no network and no device.
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

say() { printf '\n\033[1m$ %s\033[0m\n' "$*"; }
run() { say "$@"; "$@"; }

for model in gpt2 bert; do
    weights=$(python -c "from mindport.validate import embedded_checkpoint as e; print(e('$model'))")
    say migrate $model EMBEDDED "./$model-ms"
    migrate $model "$weights" "$work/$model-ms"
    for mode in eager graph; do
        say validate $model --candidate-checkpoint "./$model-ms" --mode $mode --prompts topic
        validate $model --candidate-checkpoint "$work/$model-ms" --mode $mode --prompts topic
    done
    run validate $model --prompts sentiment --quiet
done
