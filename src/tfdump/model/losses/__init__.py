"""The scalar that is differentiated: a loss by name, the compiled loss, or an objective."""
