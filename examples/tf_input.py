"""A `tf.data` pipeline of your own: `--set train.input=tf_input:hues`, in either framework.

A function gets the train split (`trainers.own_input.Given`) and whatever
[train.input_args] says, once for each epoch.  It gives images of the same size,
0 to 255, and labels; visionline adds no augmentation unless
`train.augment_input` asks for it.
"""

from __future__ import annotations

import tensorflow as tf

from trainers.own_input import Given


def hues(split: Given, most: float = 0.1) -> tf.data.Dataset:
    """Batches in random order, with the hue of each image moved by at most a tenth."""
    height, width, _ = split.images_NHW3.shape[1:]

    def read(number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # One at a time: they lie on the disk and may be more than fit the memory.
        image = tf.numpy_function(lambda n: split.images_NHW3[n], [number], tf.uint8)
        image = tf.ensure_shape(image, (height, width, 3))
        # Drawn from seed, epoch and image: equal seeds make equal trainings.
        drawn = tf.stack([tf.constant(split.seed * 1_000_003 + split.epoch, tf.int64), number])
        return tf.image.stateless_random_hue(image, most, drawn), labels[number]

    labels = tf.constant(split.labels_N)
    count = len(split.labels_N)
    numbers = tf.data.Dataset.range(count).shuffle(count, seed=split.seed * 1000 + split.epoch)
    return numbers.map(read, num_parallel_calls=2).batch(split.batch_size)
