"""Plugin ``emoji``: datasets ``emoji``, ``emoji-faces``, ``emoji-tones``, of OpenMoji's font (CC BY-SA 4.0)."""
