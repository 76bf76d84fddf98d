#!/bin/sh
# Draws the pictures in README.md and docs/ with tfdump itself. Run by `make pictures`; needs tfdump on the PATH.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
samples=$here/../../sample_models
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

tfdump activations "$samples/digits_cnn.keras" "$samples/digits.npy" -q -o digits.h5
tfdump plot digits.h5 relu1 --example 7 --channels 0:8 -f -o "$here/feature-maps.png"
tfdump plot digits.h5 --flow -f -o "$here/flow.png"

tfdump gradients "$samples/digits_cnn.keras" "$samples/digits.npy" --wrt inputs --objective 'predictions[3]' -q -o three.h5
tfdump plot three.h5 gradients/inputs/image --overlay "$samples/digits.npy" --example 7 -f -o "$here/saliency.png"

tfdump activations "$samples/text_gru.keras" "$samples/text.npz" --attention -q -o text.h5
tfdump plot text.h5 attention:attention_scores --example 60 -f -o "$here/attention.png"
