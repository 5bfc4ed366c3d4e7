//! The `inglenook` command.
fn main() {}
