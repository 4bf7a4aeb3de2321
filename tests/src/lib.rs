//! Nothing here: the tests of the workspace as a whole are in `tests/tests/`.
