//! `aegis`
fn main() {}
