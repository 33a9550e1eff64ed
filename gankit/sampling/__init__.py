"""Drawing from trained networks: what they are asked for, the samples, and sheets of them."""
