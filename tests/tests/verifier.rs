//! What the verifier walks through to accept the program: near its limit of a million, other kernels refuse.

use std::collections::HashMap;

use privatelink_userspace::config;
use privatelink_userspace::contents::Contents;
use privatelink_userspace::datapath::{Datapath, jiffies_per_second};

/// Half of the kernel's limit: Linux 6.1 walks a quarter more than 6.18.
const BUDGET: u32 = 500_000;

#[test]
fn the_program_stays_within_its_budget() {
    let text = include_str!("../../examples/overlap.toml");
    let model = config::parse("overlap.toml", text).expect("it is valid");
    let contents = Contents::new(&model, &HashMap::new(), 7, jiffies_per_second());
    let mut datapath = Datapath::load(&contents.expect("slots are free")).expect("it loads");
    let instructions = datapath.verified_instructions().expect("it is loaded").unwrap_or(0);
    println!("verified instructions: {instructions} of {BUDGET}");
    assert!(instructions < BUDGET, "{instructions}");
}
