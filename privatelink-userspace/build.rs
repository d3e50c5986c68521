//! Compiles the XDP program and hands its object to the daemon as `PRIVATELINK_EBPF_OBJECT`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

#[path = "../xtask/src/bpf.rs"]
mod bpf;

fn main() {
    if let Err(error) = compile() {
        println!("cargo::error={error:#}");
        std::process::exit(1);
    }
}

fn compile() -> Result<()> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("this package is not in its workspace")?;
    for input in
        ["privatelink-ebpf", "privatelink-common", "xtask/src/bpf.rs", "Cargo.toml", "Cargo.lock"]
    {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    let toolchain = bpf::find().map_err(|_| anyhow!(bpf::REMEDY))?;
    for file in toolchain.files() {
        println!("cargo::rerun-if-changed={}", file.display());
    }

    let out = PathBuf::from(
        std::env::var_os("OUT_DIR").context("OUT_DIR is not set: this runs under cargo")?,
    );
    // OUT_DIR is <target>/<profile>/build/<package>-<hash>/out.
    let target = out
        .ancestors()
        .nth(4)
        .with_context(|| format!("{} is not in a target directory", out.display()))?;
    let arch =
        std::env::var("CARGO_CFG_TARGET_ARCH").context("CARGO_CFG_TARGET_ARCH is not set")?;
    let built = toolchain.build(workspace, &target.join("bpf"), &arch)?;

    let object = out.join("privatelink-ebpf.o");
    std::fs::copy(&built, &object).with_context(|| format!("cannot copy {}", built.display()))?;
    println!("cargo::rustc-env=PRIVATELINK_EBPF_OBJECT={}", object.display());
    Ok(())
}
