"""``gankit plugins check``: does a plugin keep the contract of `gankit.plugin`?"""
