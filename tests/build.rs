//! Compiles what tests preload into the daemon: `WALL_CLOCK_LIBRARY` and `NO_TCX_LIBRARY` name it.

use std::env::var_os;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let [Some(rustc), Some(folder)] = ["RUSTC", "OUT_DIR"].map(var_os) else {
        println!("cargo::error=this runs under cargo");
        return;
    };
    for (name, variable) in [("wall_clock", "WALL_CLOCK_LIBRARY"), ("no_tcx", "NO_TCX_LIBRARY")] {
        compile(Path::new(&rustc), &PathBuf::from(&folder), name, variable);
    }
}

fn compile(rustc: &Path, folder: &Path, name: &str, variable: &str) {
    let source = format!("preload/{name}.rs");
    println!("cargo::rerun-if-changed={source}");
    let library = folder.join(format!("lib{name}.so"));
    let mut command = Command::new(rustc);
    command.args(["--edition=2024", "--crate-type=cdylib", "-Copt-level=1", &source, "-o"]);
    match command.arg(&library).status() {
        Ok(status) if status.success() => {
            println!("cargo::rustc-env={variable}={}", library.display());
        }
        outcome => println!("cargo::error={source} does not compile: {outcome:?}"),
    }
}
