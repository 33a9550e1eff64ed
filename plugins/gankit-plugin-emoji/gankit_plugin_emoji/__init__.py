"""Plugin ``emoji``: the datasets ``emoji`` and ``emoji-faces``, drawn from the font of OpenMoji (CC BY-SA 4.0)."""
