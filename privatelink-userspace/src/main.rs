//! The `privatelink` binary; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    privatelink_userspace::cli::main()
}
