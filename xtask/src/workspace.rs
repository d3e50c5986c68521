//! Where things are in this workspace, and cargo in it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The workspace's root.
pub(crate) fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// The target directory: the one this program was built in.
pub(crate) fn target() -> Result<PathBuf> {
    let own = std::env::current_exe().context("this program's path is unknown")?;
    // <target>/debug/xtask
    own.ancestors()
        .nth(2)
        .map(Path::to_owned)
        .with_context(|| format!("{} is not in a target directory", own.display()))
}

/// A cargo command in the workspace, by the cargo that runs us.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(arguments).current_dir(root());
    // What `cargo run` tells us about our own package would make build scripts of others run anew.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Runs a command, its output passed through, and fails when it fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    let arguments: Vec<_> = command.get_args().map(std::ffi::OsStr::to_string_lossy).collect();
    let program = Path::new(command.get_program()).file_name().unwrap_or_default().display();
    ensure!(status.success(), "`{program} {}` failed ({status})", arguments.join(" "));
    Ok(())
}

/// Builds everything for release.
pub(crate) fn build_release() -> Result<()> {
    run(&mut cargo(&["build", "--release", "--locked"]))
}

/// Builds the daemon alone for release and returns the path of its binary.
pub(crate) fn build_daemon() -> Result<PathBuf> {
    run(&mut cargo(&["build", "--release", "--locked", "--package", "privatelink-userspace"]))?;
    release_binary()
}

/// The daemon's binary of a release build.
pub(crate) fn release_binary() -> Result<PathBuf> {
    Ok(target()?.join("release/privatelink"))
}

/// A path as a user in the workspace would type it.
pub(crate) fn shown(path: &Path) -> &Path {
    path.strip_prefix(root()).unwrap_or(path)
}
