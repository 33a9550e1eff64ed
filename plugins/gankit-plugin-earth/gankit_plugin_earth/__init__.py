"""Plugin ``earth``: the datasets ``earth`` and ``earth-layer``, crops of the whole Earth in aligned layers."""
