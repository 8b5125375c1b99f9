"""Operations, one module for each subject: typed arguments in, results out, without requests and sessions."""
