"""Keycards: entries, their signatures and their chains (spec 03). No module here does I/O or reads the time.

* ``entries`` parses and composes entries; ``fields`` defines their fields.
* ``compliance`` checks that an entry is complete and its values are in range.
* ``signatures`` makes and checks hashes and signatures.
* ``links`` checks that one entry may follow another.
* ``organizations`` has the history of an organization's signing keys.
* ``verification`` verifies whole cards.
* ``making`` makes new entries.
* ``carddata`` and ``splitting`` read and write the transport formats.
* ``cache`` keeps cards in memory.
"""
