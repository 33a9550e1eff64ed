"""Plugin ``emoji``: datasets of OpenMoji's font (CC BY-SA 4.0)."""
