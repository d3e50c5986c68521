//! Random damage to valid frames: both engines must agree on every one, and never break a promise.

use privatelink_common::hash::mix;
use privatelink_common::tcp::{ACK, PSH, SYN};
use privatelink_userspace::datapath::Verdict;

use crate::frame::{Segment, checksums_are_right};
use crate::world::{Engine, Host, Kernel, Port, drops, flows, from_client, from_target};

const FRAMES: u64 = 20_000;

/// A reproducible sequence of random words.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (mix(self.0) % bound as u64) as usize
    }
}

/// Flips bits, overwrites bytes with telling values, cuts or lengthens.
fn damage(frame: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(3) {
        // Mostly the headers: damage to the payload changes nothing.
        let at = random.below(frame.len().min(62));
        match random.below(4) {
            0 => frame[at] ^= 1 << random.below(8),
            1 => frame[at] = [0, 1, 0x45, 0x7f, 0x80, 0xff][random.below(6)],
            2 => frame.truncate(14.max(at)),
            _ => frame.extend((0..random.below(8)).map(|byte| byte as u8)),
        }
    }
}

/// What may never happen, whatever comes in.
fn keeps_promises(seed: &Segment, sent: &[u8], verdict: Verdict, got: &[u8]) {
    match verdict {
        Verdict::Pass => assert_eq!(got, sent, "what passes is untouched"),
        Verdict::Drop => {}
        Verdict::Redirect => {
            assert!(got.len() <= sent.len(), "nothing grows that had no tags");
            if checksums_are_right(&seed.bytes()) && sent.len() >= 54 && got.len() >= 54 {
                let valid = sent[14] == 0x45 && checksums_are_right(sent);
                assert!(!valid || checksums_are_right(got), "a right checksum stays right");
            }
        }
        Verdict::Tx | Verdict::Aborted => panic!("{verdict:?}"),
    }
}

#[test]
fn both_engines_agree_on_damaged_frames() {
    Kernel::run(&|text| text, |kernel| {
        let mut host = Host::new(&|text| text);
        let mut random = Random(1);
        // One flow in each: the leases differ, so only what the client sends is the same on both.
        let syn = from_client(Port::A, 40_000, SYN);
        for engine in [kernel as &mut dyn Engine, &mut host] {
            assert_eq!(engine.receive(Port::A, &syn.bytes()).verdict, Verdict::Redirect);
        }
        let seeds = [
            syn.with_payload(b"some data of a live flow, long enough to be cut"),
            from_client(Port::A, 40_001, ACK | PSH).with_payload(b"mid-stream, no flow"),
            from_client(Port::B, 40_002, ACK),
        ];
        for _ in 0..FRAMES {
            let seed = &seeds[random.below(seeds.len())];
            let port = if seed.to == Port::B.mac() { Port::B } else { Port::A };
            let mut frame = seed.bytes();
            damage(&mut frame, &mut random);
            let ours = host.receive(port, &frame);
            let kernels = kernel.receive(port, &frame);
            assert_eq!(kernels.verdict, ours.verdict, "{frame:02x?}");
            keeps_promises(seed, &frame, ours.verdict, &ours.frame);
            keeps_promises(seed, &frame, kernels.verdict, &kernels.frame);
            if ours.verdict != Verdict::Redirect {
                assert_eq!(kernels.frame, ours.frame);
            }
        }
        for port in Port::ALL {
            assert_eq!(drops(kernel, port), drops(&host, port));
        }
        // Damage may have made SYNs of some; every other flow would be one from nothing.
        assert_eq!(flows(kernel).len(), flows(&host).len());
    });
}

/// The reverse direction on the host, where the lease is known.
#[test]
fn damaged_answers_keep_the_promises() {
    let mut host = Host::new(&|text| text);
    let mut random = Random(2);
    host.receive(Port::A, &from_client(Port::A, 40_000, SYN).bytes());
    let opened = flows(&host).remove(0);
    let seed = from_target(&opened, ACK | PSH, b"an answer that will be damaged");
    for _ in 0..FRAMES {
        let mut frame = seed.bytes();
        damage(&mut frame, &mut random);
        let outcome = host.receive(Port::Provider, &frame);
        keeps_promises(&seed, &frame, outcome.verdict, &outcome.frame);
        if outcome.verdict == Verdict::Redirect {
            let to = &outcome.frame[6..12];
            assert!(
                to == Port::A.mac() || to == Port::Provider.mac(),
                "never towards another consumer"
            );
        }
    }
    assert_eq!(flows(&host).len(), 1, "no flow from the provider's side");
}
