"""The content store: the bytes of files, under keys that never change (spec 06, *Files*)."""
