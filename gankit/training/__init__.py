"""The training loop: what a step is, and everything that happens between steps."""
