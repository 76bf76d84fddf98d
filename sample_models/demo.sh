#!/bin/sh
# The main job on every sample model: list, dump, differentiate, show. Run by `make demo`; needs tfdump on the PATH.
set -eu
cd "$(dirname "$0")"
out=../demo-output
mkdir -p "$out"

run() {
    printf '\n$ %s\n' "$*"
    "$@"
}

run tfdump layers digits_cnn.keras
run tfdump activations digits_cnn.keras digits.npy --stats -f -o "$out/digits_cnn.activations.h5"
run tfdump show "$out/digits_cnn.activations.h5"
run tfdump activations wine_mlp.keras wine.npy -f -o "$out/wine_mlp.activations.h5"
run tfdump activations twice.keras digits.npy --import twice.py -f -o "$out/twice.activations.h5"
run tfdump activations text_gru.keras text.npz --attention --rnn-steps -f -o "$out/text_gru.activations.h5"
run tfdump activations siamese.keras pairs.npz -l 'encoder*' -f -o "$out/siamese.activations.h5"
run tfdump show "$out/siamese.activations.h5"
python draw.py "$out/photos"
run tfdump activations shapes_cnn.keras "$out/photos" -l features -f -o "$out/photos.features.h5"
run tfdump cat "$out/photos.features.h5" features --ids --slice :3,:4 --format csv
run tfdump gradients digits_cnn.keras digits.npy digits_labels.npy --wrt weights --wrt activations --wrt inputs \
    -f -o "$out/digits_cnn.gradients.h5"
run tfdump show "$out/digits_cnn.gradients.h5"
run tfdump gradients text_gru.keras text.npz text_labels.npy -f -o "$out/text_gru.gradients.h5"
printf '\nThe dumps are in %s\n' "$(cd "$out" && pwd)"
