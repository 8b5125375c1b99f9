"""The commands of the protocol, one module a family (spec 04), and how they are found."""
