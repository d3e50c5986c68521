//! Compiles what a test preloads into the daemon: `WALL_CLOCK_LIBRARY` names it.

use std::env::var_os;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    const SOURCE: &str = "preload/wall_clock.rs";
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-changed=build.rs");
    let [Some(rustc), Some(folder)] = ["RUSTC", "OUT_DIR"].map(var_os) else {
        println!("cargo::error=this runs under cargo");
        return;
    };
    let library = PathBuf::from(folder).join("libwall_clock.so");
    let mut command = Command::new(rustc);
    command.args(["--edition=2024", "--crate-type=cdylib", "-Copt-level=1", SOURCE, "-o"]);
    match command.arg(&library).status() {
        Ok(status) if status.success() => {
            println!("cargo::rustc-env=WALL_CLOCK_LIBRARY={}", library.display());
        }
        outcome => println!("cargo::error={SOURCE} does not compile: {outcome:?}"),
    }
}
