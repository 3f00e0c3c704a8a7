//! Lets the `aegis` binary and the integration tests find the MuJoCo library without environment variables.
//! The logic is sim_bridge's.

#[path = "sim_bridge/build.rs"]
mod sim_bridge;

fn main() {
    sim_bridge::main();
}
