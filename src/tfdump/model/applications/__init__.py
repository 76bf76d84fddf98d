"""What the models of `keras.applications` want as their inputs."""
