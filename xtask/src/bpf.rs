//! Finds a Rust toolchain that compiles for the kernel's BPF machine, and compiles the eBPF packages with it.
//!
//! Shared by `cargo xtask` and by the build scripts that need an object, so it needs nothing but std and anyhow.
//! Two things must come together: a rustc that has `core` for BPF (prebuilt, as in Debian's `libstd-rust-web-dev-bpf`, or
//! as source, rustup's `rust-src`), and a bpf-linker whose LLVM reads the bitcode that this rustc writes.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail, ensure};

/// What every failed search ends in: the one command that cures it.
pub(crate) const REMEDY: &str = "no toolchain that compiles eBPF: run `cargo xtask setup`";

/// The crates that may use unstable features when a stable rustc compiles them: aya-ebpf needs them, ours may.
const BOOTSTRAP_CRATES: &str =
    "aya_ebpf,privatelink_bench_ebpf,privatelink_ebpf,privatelink_common";

/// Where a toolchain keeps `core` for BPF; the order is the order of preference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Core {
    /// Compiled, in the sysroot. The fastest, and it needs no nightly.
    Prebuilt,
    /// Source in the sysroot of a nightly: `-Z build-std=core`.
    NightlySource,
    /// Source in the sysroot of a stable release: `-Z build-std=core` with `RUSTC_BOOTSTRAP=1`.
    StableSource,
}

/// A rustc that has `core` for BPF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Compiler {
    sysroot: PathBuf,
    core: Core,
    release: String,
    /// Major version of its LLVM.
    pub(crate) llvm: u32,
}

/// A bpf-linker that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Linker {
    path: PathBuf,
    /// Major version of its LLVM, where that could be found out.
    llvm: Option<u32>,
}

/// A compiler and a linker that fit together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Toolchain {
    compiler: Compiler,
    linker: Linker,
}

/// What a host lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// No rustc here has `core` for BPF, compiled or as source.
    Compiler,
    /// There is a rustc, but no bpf-linker that reads its bitcode.
    Linker {
        /// The compiler that it is wanted for.
        compiler: Compiler,
    },
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Compiler { sysroot, core, release, llvm } = &self.compiler;
        let core = match core {
            Core::Prebuilt => "prebuilt core",
            Core::NightlySource | Core::StableSource => "core from rust-src",
        };
        write!(
            f,
            "rustc {release} in {} ({core}, LLVM {llvm}), {}",
            sysroot.display(),
            self.linker.path.display()
        )
    }
}

/// Finds the best complete toolchain of this host.
///
/// # Errors
/// Says which half is missing.
pub(crate) fn find() -> std::result::Result<Toolchain, Missing> {
    choose(compilers(), &linkers())
}

fn choose(
    mut compilers: Vec<Compiler>,
    linkers: &[Linker],
) -> std::result::Result<Toolchain, Missing> {
    compilers.sort_by_key(|compiler| compiler.core);
    for compiler in &compilers {
        // LLVM reads the bitcode of earlier releases, never of later ones.
        if let Some(linker) =
            linkers.iter().find(|linker| linker.llvm.is_none_or(|llvm| llvm >= compiler.llvm))
        {
            return Ok(Toolchain { compiler: compiler.clone(), linker: linker.clone() });
        }
    }
    Err(compilers
        .into_iter()
        .next()
        .map_or(Missing::Compiler, |compiler| Missing::Linker { compiler }))
}

/// rustup's toolchains and the system's own one, those that have `core` for BPF.
fn compilers() -> Vec<Compiler> {
    let home = |variable: &str, fallback: &str| {
        std::env::var_os(variable)
            .map(PathBuf::from)
            .or_else(|| std::env::home_dir().map(|home| home.join(fallback)))
            .unwrap_or_default()
    };
    let toolchains = home("RUSTUP_HOME", ".rustup").join("toolchains");
    let linked = fs::read_dir(toolchains).into_iter().flatten().flatten().map(|entry| entry.path());
    let sysroots: BTreeSet<PathBuf> = linked
        .chain(["/usr".into(), "/usr/local".into()])
        .filter_map(|path| path.canonicalize().ok())
        .collect();
    sysroots.iter().filter_map(|sysroot| inspect(sysroot)).collect()
}

/// Looks whether the toolchain in `sysroot` can compile for BPF at all.
fn inspect(sysroot: &Path) -> Option<Compiler> {
    let rustlib = sysroot.join("lib/rustlib");
    let prebuilt = fs::read_dir(rustlib.join(bpf_target()).join("lib")).is_ok_and(|mut entries| {
        entries.any(|entry| {
            entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"))
        })
    });
    if !prebuilt && !rustlib.join("src/rust/library/core/src/lib.rs").is_file() {
        return None;
    }
    let output = Command::new(sysroot.join("bin/rustc")).arg("-vV").output().ok()?;
    let (release, llvm) = parse_version(&String::from_utf8_lossy(&output.stdout))?;
    if minor(&release)? < minor(env!("CARGO_PKG_RUST_VERSION"))? {
        return None;
    }
    let core = match (prebuilt, release.contains("nightly")) {
        (true, _) => Core::Prebuilt,
        (false, true) => Core::NightlySource,
        (false, false) => Core::StableSource,
    };
    Some(Compiler { sysroot: sysroot.to_owned(), core, release, llvm })
}

/// The release and the major version of LLVM out of `rustc -vV`.
fn parse_version(text: &str) -> Option<(String, u32)> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let llvm = field("LLVM version:")?.split('.').next()?.parse().ok()?;
    Some((field("release:")?.to_owned(), llvm))
}

/// The 95 of "1.95.0" and of "1.95".
fn minor(release: &str) -> Option<u32> {
    release.split('.').nth(1)?.parse().ok()
}

/// Every bpf-linker on PATH and where `cargo install` puts it.
fn linkers() -> Vec<Linker> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo_home = cargo_home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    std::env::split_paths(&path)
        .chain(cargo_home.map(|home| home.join("bin")))
        .map(|folder| folder.join("bpf-linker"))
        // A linker whose LLVM library was removed is there, but does not run.
        .filter(|path| {
            Command::new(path).arg("--version").output().is_ok_and(|output| output.status.success())
        })
        .map(|path| Linker { llvm: linker_llvm(&path), path })
        .collect()
}

/// bpf-linker does not tell its LLVM. A dynamically linked one names the library it needs near its start; of a static
/// one cargo has noted the features it was installed with.
fn linker_llvm(path: &Path) -> Option<u32> {
    let mut head = Vec::new();
    fs::File::open(path).ok()?.take(1 << 20).read_to_end(&mut head).ok()?;
    let noted = || {
        let record = fs::read_to_string(path.parent()?.parent()?.join(".crates2.json")).ok()?;
        number_after(
            record.split("\"bpf-linker ").nth(1)?.split('}').next()?.as_bytes(),
            b"\"llvm-",
        )
    };
    number_after(&head, b"libLLVM.so.").or_else(|| number_after(&head, b"libLLVM-")).or_else(noted)
}

/// The decimal number that follows the first `prefix` in `bytes`.
fn number_after(bytes: &[u8], prefix: &[u8]) -> Option<u32> {
    let start = bytes.windows(prefix.len()).position(|window| window == prefix)? + prefix.len();
    let digits: Vec<u8> =
        bytes.get(start..)?.iter().copied().take_while(u8::is_ascii_digit).collect();
    std::str::from_utf8(&digits).ok()?.parse().ok()
}

fn bpf_target() -> &'static str {
    if cfg!(target_endian = "big") { "bpfeb-unknown-none" } else { "bpfel-unknown-none" }
}

/// What a build script does that needs an eBPF object: compiles `package`, which is in `folder` of the workspace, and hands
/// the object's path to its crate as the environment variable `variable`.
///
/// # Errors
/// When there is no toolchain for it, or the package does not compile.
pub(crate) fn provide(package: &str, folder: &str, variable: &str) -> Result<()> {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").context("this runs under cargo")?;
    let workspace = Path::new(&own).parent().context("this package is not in its workspace")?;
    for input in [folder, "privatelink-common", "xtask/src/bpf.rs", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    let toolchain = find().map_err(|_| anyhow!(REMEDY))?;
    for file in toolchain.files() {
        println!("cargo::rerun-if-changed={}", file.display());
    }

    let out = PathBuf::from(std::env::var_os("OUT_DIR").context("this runs under cargo")?);
    // OUT_DIR is <target>/<profile>/build/<package>-<hash>/out.
    let target = out
        .ancestors()
        .nth(4)
        .with_context(|| format!("{} is not in a target directory", out.display()))?;
    let arch =
        std::env::var("CARGO_CFG_TARGET_ARCH").context("CARGO_CFG_TARGET_ARCH is not set")?;
    let built = toolchain.build(package, workspace, &target.join("bpf"), &arch)?;

    let object = out.join(package).with_extension("o");
    fs::copy(&built, &object).with_context(|| format!("cannot copy {}", built.display()))?;
    println!("cargo::rustc-env={variable}={}", object.display());
    Ok(())
}

impl Toolchain {
    /// The files whose change means that the object must be compiled anew.
    fn files(&self) -> [PathBuf; 2] {
        [self.compiler.sysroot.join("bin/rustc"), self.linker.path.clone()]
    }

    /// Compiles an eBPF package of the workspace for a host of architecture `arch` and returns the object's path.
    ///
    /// `target` is a target directory of its own: the cargo that runs a build script holds the lock of the workspace's one.
    ///
    /// # Errors
    /// When cargo cannot be run or the program does not compile.
    fn build(&self, package: &str, workspace: &Path, target: &Path, arch: &str) -> Result<PathBuf> {
        let mut cargo = self.cargo()?;
        cargo.current_dir(workspace);
        cargo.args(["build", "--release", "--locked", "--package", package]);
        cargo.args(["--target", bpf_target(), "--target-dir"]).arg(target);
        let flags = [
            "-Cdebuginfo=2",
            "-Clink-arg=--btf",
            "-Ctarget-cpu=v3",
            &format!("--cfg=bpf_target_arch=\"{arch}\""),
        ];
        cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
        match self.compiler.core {
            Core::Prebuilt => cargo.env("RUSTC_BOOTSTRAP", BOOTSTRAP_CRATES),
            Core::NightlySource => cargo.args(["-Z", "build-std=core"]),
            Core::StableSource => cargo.args(["-Z", "build-std=core"]).env("RUSTC_BOOTSTRAP", "1"),
        };
        let status = cargo
            .status()
            .with_context(|| format!("cannot run {}", cargo.get_program().display()))?;
        ensure!(status.success(), "{package} does not compile with {self}");
        let object = target.join(bpf_target()).join("release").join(package);
        if !object.is_file() {
            bail!("cargo left no object at {}", object.display());
        }
        Ok(object)
    }

    /// The toolchain's cargo, or else the one that runs us, without what an outer cargo, clippy or rustup tells its
    /// children: that is about another compilation.
    fn cargo(&self) -> Result<Command> {
        let own = self.compiler.sysroot.join("bin/cargo");
        let cargo = if own.is_file() {
            own.into()
        } else {
            std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
        };
        let mut command = Command::new(cargo);
        for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_outer_build(name)) {
            command.env_remove(name);
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = self
            .linker
            .path
            .parent()
            .into_iter()
            .map(PathBuf::from)
            .chain(std::env::split_paths(&path));
        command.env(
            "PATH",
            std::env::join_paths(folders)
                .context("PATH cannot be extended by bpf-linker's folder")?,
        );
        command.env("RUSTC", self.compiler.sysroot.join("bin/rustc"));
        Ok(command)
    }
}

fn is_of_outer_build(name: &OsString) -> bool {
    const PREFIXES: [&str; 9] = [
        "CARGO_BUILD_",
        "CARGO_CFG_",
        "CARGO_ENCODED_",
        "CARGO_FEATURE_",
        "CARGO_PKG_",
        "CARGO_PROFILE_",
        "CARGO_TARGET_",
        "RUSTC",
        "RUSTFLAGS",
    ];
    let name = name.to_string_lossy();
    PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        || ["CARGO", "CARGO_MANIFEST_DIR", "CLIPPY_ARGS", "RUSTUP_TOOLCHAIN"]
            .contains(&name.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiler(core: Core, llvm: u32) -> Compiler {
        Compiler { sysroot: "/sysroot".into(), core, release: "1.96.0".into(), llvm }
    }

    fn linker(llvm: Option<u32>) -> Linker {
        Linker { path: "/bin/bpf-linker".into(), llvm }
    }

    #[test]
    fn release_and_llvm_come_from_rustc() {
        let text = "rustc 1.97.0-nightly (e50aa6fba 2026-05-19)\nrelease: 1.97.0-nightly\nLLVM version: 22.1.4\n";
        assert_eq!(parse_version(text), Some(("1.97.0-nightly".to_owned(), 22)));
        assert_eq!(parse_version("rustc 1.97.0"), None);
        assert_eq!((minor("1.96.0"), minor("1.95")), (Some(96), Some(95)));
    }

    #[test]
    fn a_complete_toolchain_is_preferred_to_a_faster_incomplete_one() {
        let (prebuilt, nightly) = (compiler(Core::Prebuilt, 23), compiler(Core::NightlySource, 22));
        let both = || vec![nightly.clone(), prebuilt.clone()];
        let core =
            |linkers: &[Linker]| choose(both(), linkers).map(|toolchain| toolchain.compiler.core);
        assert_eq!(core(&[linker(Some(22))]), Ok(Core::NightlySource));
        assert_eq!(core(&[linker(Some(23))]), Ok(Core::Prebuilt));
        assert_eq!(core(&[linker(None)]), Ok(Core::Prebuilt));
        assert_eq!(core(&[linker(Some(21))]), Err(Missing::Linker { compiler: prebuilt.clone() }));
        assert_eq!(choose(Vec::new(), &[linker(Some(22))]), Err(Missing::Compiler));
    }

    #[test]
    fn the_linkers_llvm_is_read_from_what_it_needs() {
        assert_eq!(number_after(b"\0libLLVM.so.22.1\0", b"libLLVM.so."), Some(22));
        assert_eq!(number_after(b"\"features\":[\"llvm-21\"]", b"\"llvm-"), Some(21));
        assert_eq!(number_after(b"libc.so.6", b"libLLVM-"), None);
    }
}
