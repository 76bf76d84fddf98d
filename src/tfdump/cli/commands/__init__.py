"""The commands, one module each; the modules beside this folder hold what they share."""
