"""Weights from file to file: in chunks, by a few threads, in memory that does not grow with them.

``parts`` says which files are written, ``feed`` makes the bytes of their tensors of ``weights``,
``fill`` puts them into a ``sink``, ``verify`` reads them back; ``folder`` is where this happens.
"""
