//! What the verifier asks of the program, kept so far from its limits that other kernels than this one accept it too.

#[path = "object/embedded.rs"]
mod embedded;

use std::collections::BTreeMap;

use privatelink_userspace::config;
use privatelink_userspace::datapath::{Datapath, ProgramKind, Sizes};

use embedded::{Function, Place};

/// Half of the kernel's limit: Linux 6.1 walks a quarter more than 6.18.
const BUDGET: u32 = 500_000;
/// MAX_BPF_STACK: what all functions of a chain of calls may take together, bytes.
const STACK: u32 = 512;
/// Linux 6.1 rounds each function's share up to this, and counts no function as less (check_max_stack_depth()). Later
/// kernels round to 16, or to 8.
const STEP: u32 = 32;

#[test]
fn the_programs_stay_within_their_budget() {
    let text = include_str!("../../examples/overlap.toml");
    let model = config::parse("overlap.toml", text).expect("it is valid");
    let (mut datapath, _) = Datapath::load(Sizes::of(&model), None).expect("it loads");
    datapath.load_wide().expect("it loads");
    for kind in ProgramKind::ALL {
        datapath.load_kind(kind).expect("they load");
    }
    for watched in [false, true] {
        datapath.set_watched(watched).expect("it loads");
        for (name, instructions) in datapath.verified_instructions().expect("they are loaded") {
            let instructions = instructions.unwrap_or(0);
            println!("verified instructions of {name}: {instructions} of {BUDGET}");
            assert!(instructions < BUDGET, "{instructions}");
        }
    }
}

/// The chain of calls from a function on that takes the most stack, and how much.
fn deepest(
    functions: &BTreeMap<Place, Function>,
    place: Place,
    above: &mut Vec<Place>,
) -> (u32, Vec<Place>) {
    assert!(!above.contains(&place), "BPF has no recursion: {}", functions[&place].name);
    above.push(place);
    let function = &functions[&place];
    let calls = function.calls.iter().map(|called| deepest(functions, *called, above));
    let (below, mut chain) = calls.max().unwrap_or_default();
    above.pop();
    chain.insert(0, place);
    (below + function.stack.max(1).next_multiple_of(STEP), chain)
}

#[test]
fn every_chain_of_calls_fits_the_stack_of_linux_6_1() {
    // Cargo builds this program anew with the object, unlike the daemon's.
    let own = std::env::current_exe().expect("this program has a path");
    let functions = embedded::functions(&own).expect("the object is embedded here");
    let mut programs = 0;
    for (place, program) in functions.iter().filter(|(_, function)| function.is_program) {
        let (sum, chain) = deepest(&functions, *place, &mut Vec::new());
        let parts = chain.iter().map(|place| {
            let Function { name, stack, .. } = &functions[place];
            format!("{name} {} ({stack})", stack.max(&1).next_multiple_of(STEP))
        });
        let parts: Vec<_> = parts.collect();
        println!("stack of {}: {} = {sum} of {STACK}", program.name, parts.join(" + "));
        assert!(sum <= STACK, "{} needs {sum} bytes: {}", program.name, parts.join(" + "));
        programs += 1;
    }
    assert!(programs >= 2, "the data path and the clock at least");
}
