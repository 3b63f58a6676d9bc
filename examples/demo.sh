#!/bin/sh
# The main job, from weights to a verdict: port a GPT-2 and a BERT and prove them equal.
# `make demo` runs this; it needs no network and no device.
set -eu

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

run() {
    printf '\n\033[1m$ %s\033[0m\n' "$*"
    "$@"
}

for model in gpt2 bert; do
    ln -s "$(python -c "from mindport.validate import embedded_checkpoint as e; print(e('$model'))")" "$model-hf"
    run migrate "$model" "./$model-hf" "./$model-ms"
    for mode in eager graph; do
        run validate "$model" --candidate-checkpoint "./$model-ms" --mode "$mode" --prompts topic
    done
    run validate "$model" --prompts sentiment --gradients --quiet
done

printf '\nBoth models were ported, and every operation, gradient and label agrees with PyTorch.\n'
