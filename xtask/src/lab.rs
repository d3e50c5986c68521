//! `cargo xtask lab`: the lab by hand.

use anyhow::Result;
use clap::Subcommand;
use privatelink_tests::{Lab, down, require_root, status};

use crate::attach::Attach;
use crate::interrupt;
use crate::setup::{self, Purpose};
use crate::workspace::{release_binary, shown};

/// What to do with the lab.
#[derive(Clone, Copy, Subcommand)]
pub(crate) enum Action {
    /// Create the namespaces and links and start the HTTP targets; they stay until `lab down`.
    Up {
        /// How the daemon is going to be attached.
        #[arg(long, value_enum, default_value_t = Attach::Auto)]
        attach: Attach,
    },
    /// Remove all of it, also what a `run` that was killed has left.
    Down,
    /// Show the namespaces, their interfaces, and the processes.
    Status,
}

impl Action {
    pub(crate) fn perform(self) -> Result<()> {
        require_root()?;
        match self {
            Self::Up { attach } => up(attach),
            Self::Down => {
                println!("{}", if down()? { "the lab is down" } else { "no lab is up" });
                Ok(())
            }
            Self::Status => {
                let status = status()?;
                print!(
                    "{}",
                    if status.is_up() { status.to_string() } else { "no lab is up\n".to_owned() }
                );
                Ok(())
            }
        }
    }
}

fn up(attach: Attach) -> Result<()> {
    setup::ensure(Purpose::Run)?;
    interrupt::take_over()?;
    let lab = Lab::fixed(attach.links())?;
    // An interrupted `up` leaves nothing: the lab goes with this function.
    interrupt::check()?;
    lab.keep();
    print!("{}", status()?);
    println!("\nTo start the daemon in it, after `cargo xtask build`:");
    println!("  nsenter --net=/run/netns/pl-gateway {} \\", shown(&release_binary()?).display());
    let mode = attach.name();
    println!(
        "    run --config examples/overlap.toml --socket /tmp/privatelink.sock --attach {mode}"
    );
    println!("or with examples/dual-stack.toml, which has IPv6 too.");
    println!("To be a consumer's client:  ip netns exec pl-consumer-a curl http://10.0.1.10/");
    println!("To take it down:            cargo xtask lab down");
    Ok(())
}
