//! The harness shared by the tests that cross rooms.
