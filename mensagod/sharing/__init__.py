"""What processes that share one database tell one another (spec 06, *Running many*)."""
