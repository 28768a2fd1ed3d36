//! Configuration fragments merged into one validated `Settings`.
