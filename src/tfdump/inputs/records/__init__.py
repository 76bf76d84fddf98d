"""TFRecord files of `tf.train.Example` as the arrays of a model."""
