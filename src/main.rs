//! The `roomcast` program.

fn main() {}
