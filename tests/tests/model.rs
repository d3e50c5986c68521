//! The flow engine against a plain model of it: random sequences of everything that may happen, on the engine with
//! its maps in ordinary memory, on the XDP programs in the kernel (BPF_PROG_TEST_RUN) and on the classifiers there. After every frame verdict, bytes
//! and drop counters must be the model's, and every few steps the flow tables.
//!
//! `PRIVATELINK_MODEL_STEPS` sets how many steps each of the runs takes about, that of classifiers fewer, `PRIVATELINK_MUTATED_FRAMES` how
//! many damaged frames are carried beside them, `PRIVATELINK_CONFIGURATIONS` in how many random worlds nothing may cross.

#[path = "model/answers.rs"]
mod answers;
#[path = "model/apart.rs"]
mod apart;
#[path = "model/build.rs"]
mod build;
#[path = "model/carry.rs"]
mod carry;
#[path = "model/coverage.rs"]
mod coverage;
#[path = "model/cutting.rs"]
mod cutting;
#[path = "model/damage.rs"]
mod damage;
#[path = "model/draws.rs"]
mod draws;
#[path = "model/extensions.rs"]
mod extensions;
#[path = "model/flow.rs"]
mod flow;
#[expect(dead_code, reason = "the scenarios of packets.rs use the rest")]
#[path = "packets/frame.rs"]
mod frame;
#[path = "model/frames.rs"]
mod frames;
#[path = "model/icmp.rs"]
mod icmp;
#[path = "model/mix.rs"]
mod mix;
#[path = "model/mutated.rs"]
mod mutated;
#[path = "model/nat.rs"]
mod nat;
#[path = "model/open.rs"]
mod open;
#[path = "model/pieces.rs"]
mod pieces;
#[path = "model/promises.rs"]
mod promises;
#[path = "model/quoting.rs"]
mod quoting;
#[path = "model/rewrite.rs"]
mod rewrite;
#[path = "model/rows.rs"]
mod rows;
#[path = "model/run.rs"]
mod run;
#[path = "model/said.rs"]
mod said;
#[path = "model/seeds.rs"]
mod seeds;
#[path = "model/steps.rs"]
mod steps;
#[path = "model/twins.rs"]
mod twins;
#[path = "model/wire.rs"]
mod wire;
#[expect(dead_code, reason = "the scenarios of packets.rs use the rest")]
#[path = "packets/world.rs"]
mod world;

use std::cell::RefCell;
use std::time::Instant;

use proptest::test_runner::{Config, FileFailurePersistence, TestRunner};

use coverage::Coverage;
use damage::Random;
use mix::Mix;
use mutated::{Counts, One};
use run::sequence;
use twins::Twins;
use world::{Engine, Host, Kernel, ProgramKind};

/// Steps that a run takes at least.
const STEPS: usize = 300_000;
/// Damaged frames that are carried unless `PRIVATELINK_MUTATED_FRAMES` says otherwise.
const FRAMES: u64 = 10_000_000;
/// Damaged frames until an engine begins anew.
const LIFETIME: u64 = 50_000;
/// Damaged frames of each world that both engines get.
const TWIN_FRAMES: u64 = 20_000;
/// Random configurations unless `PRIVATELINK_CONFIGURATIONS` says otherwise.
const CONFIGURATIONS: u64 = 1000;
/// The classifiers take one step of so many: each frame of theirs crosses a veth.
const CLASSIFIERS_SHARE: usize = 5;
/// Most steps of one sequence.
const LENGTH: usize = 200;

fn wanted(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |number| number.parse().expect("a number"))
}

/// Runs sequences of one world until enough steps are taken, one of `share`; proptest makes a failing one small.
fn agree(name: &str, mix: Mix, engine: &mut dyn Engine, share: usize, coverage: &mut Coverage) {
    let wanted = wanted("PRIVATELINK_MODEL_STEPS", STEPS as u64) as usize / share / Mix::ALL.len();
    let mut runner = TestRunner::new(Config {
        cases: u32::try_from(wanted.div_ceil(LENGTH / 2)).expect("fewer steps"),
        max_shrink_iters: 20_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            "proptest-regressions/model.txt",
        ))),
        ..Config::default()
    });
    let steps = proptest::collection::vec(draws::step(mix), 1..=LENGTH);
    let (engine, met) = (RefCell::new(engine), RefCell::new(coverage));
    let (before, started) = (met.borrow().stalled, Instant::now());
    let outcome = runner.run(&steps, |steps| {
        sequence(&mut **engine.borrow_mut(), mix, &steps, &mut met.borrow_mut())
    });
    let coverage = met.into_inner();
    println!("{name}, {mix:?}: {:.1} s", started.elapsed().as_secs_f64());
    if let Err(error) = outcome {
        panic!("{mix:?}: {error}");
    }
    let stalled = coverage.stalled - before;
    assert!(stalled * 20 <= wanted / LENGTH + 20, "{stalled} stalled");
}

/// Whether everything was met, if the steps were enough for that.
fn is_covered(coverage: &Coverage) {
    println!("{coverage:#?}");
    if coverage.steps >= STEPS {
        assert_eq!(coverage.missing(), Vec::<String>::new(), "never met");
    }
}

#[test]
fn host_agrees_with_the_model() {
    let mut coverage = Coverage::default();
    for mix in Mix::ALL {
        agree("host", mix, &mut Host::new(&|text| mix.edit(&text)), 1, &mut coverage);
    }
    is_covered(&coverage);
}

#[test]
fn xdp_agrees_with_the_model() {
    let mut coverage = Coverage::default();
    for mix in Mix::ALL {
        let coverage = &mut coverage;
        Kernel::run(ProgramKind::Xdp, &|text| mix.edit(&text), |kernel| {
            agree("xdp", mix, kernel, 1, coverage);
        });
    }
    is_covered(&coverage);
}

#[test]
fn classifiers_agree_with_the_model() {
    let mut coverage = Coverage::default();
    for mix in Mix::ALL {
        let coverage = &mut coverage;
        Kernel::run(ProgramKind::Classifier, &|text| mix.edit(&text), |kernel| {
            agree("classifiers", mix, kernel, CLASSIFIERS_SHARE, coverage);
        });
    }
    is_covered(&coverage);
}

/// Whether enough of the damaged frames came through to say something.
fn are_telling(counts: &Counts, frames: u64) {
    println!("{frames} frames, {counts:?}");
    let [opened, forwarded, answered] =
        [counts.opened, counts.forwarded, counts.answered].map(|count| count * 100 / frames);
    assert!(opened >= 1 && forwarded >= 10 && answered >= 2, "too few came through: {counts:?}");
}

#[test]
fn damaged_frames_break_no_promise() {
    let frames = wanted("PRIVATELINK_MUTATED_FRAMES", FRAMES);
    let (mut counts, mut random) = (Counts::default(), Random(1));
    for (start, mix) in (0..frames).step_by(LIFETIME as usize).zip(Mix::ALL.into_iter().cycle()) {
        let mut host = Host::new(&|text| mix.edit(&text));
        let some = LIFETIME.min(frames - start);
        mutated::run(&mut One(&mut host), mix, some, &mut random, &mut counts);
    }
    are_telling(&counts, frames);
}

#[test]
fn damaged_frames_break_no_promise_in_the_kernel() {
    let (mut counts, mut random) = (Counts::default(), Random(2));
    for mix in Mix::ALL {
        let (counts, random) = (&mut counts, &mut random);
        let run =
            |kernel: &mut Kernel| mutated::run(&mut One(kernel), mix, LIFETIME, random, counts);
        Kernel::run(ProgramKind::Xdp, &|text| mix.edit(&text), run);
    }
    are_telling(&counts, LIFETIME * Mix::ALL.len() as u64);
}

#[test]
fn both_engines_agree_on_damaged_frames() {
    let (mut counts, mut random) = (Counts::default(), Random(3));
    for mix in Mix::ALL {
        let edit = |text: String| mix.edit(&text);
        let (counts, random) = (&mut counts, &mut random);
        let run = |kernel: &mut Kernel| {
            let mut twins = Twins { host: Host::new(&edit), kernel };
            mutated::run(&mut twins, mix, TWIN_FRAMES, random, counts);
            twins.are_alike();
        };
        Kernel::run(ProgramKind::Xdp, &edit, run);
    }
    are_telling(&counts, TWIN_FRAMES * Mix::ALL.len() as u64);
}

#[test]
fn nothing_crosses_between_vpcs_but_flows_of_published_ports() {
    let counts = apart::run(wanted("PRIVATELINK_CONFIGURATIONS", CONFIGURATIONS), 1);
    println!("{counts:?}");
    let [opened, carried] =
        [counts.opened, counts.carried].map(|count| count / counts.configurations);
    assert!(opened >= 3 && carried >= 3 && counts.answered > 0, "too few: {counts:?}");
}
