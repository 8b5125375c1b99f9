"""Keycards: entries, their signatures, their chains (spec 03).

Nothing here reads a clock of its own, a file or a socket. ``entries`` parses and composes,
``compliance`` says whether an entry is complete, ``signatures`` what each line covers,
``links`` whether one entry may follow another, ``organizations`` which key could sign
for users when, ``verification`` judges whole cards, ``making`` makes new entries,
``carddata`` frames entries for transport and ``cache`` keeps cards in memory.
"""
