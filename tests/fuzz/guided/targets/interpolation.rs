//! Variables in stack files, and `.env` files.
#![no_main]

guided::target!(stackfile::fuzzing::variables);
