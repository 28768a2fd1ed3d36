//! `margoctl`: its commands and how it prints.
