"""gankit: a plugin-based GAN toolkit with fused C++/CUDA kernels.

Importing this package imports no torch; submodules do when they are first used.
"""

__version__ = "0.1.0"
