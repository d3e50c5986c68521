//! What is noted of a handshake, and of packets that bring nothing new.

use std::time::{Duration, Instant};

use privatelink_common::flow_table::note::Note;
use privatelink_common::tcp::{ACK, PSH, SYN};

use crate::connection::{client, established, open, target};
use crate::scenarios;
use crate::world::{Engine, Port, carried, end, flow, from_client, from_target, pass};

/// Whether the consumer's side and the provider's have been timed.
fn timed(engine: &dyn Engine) -> [bool; 2] {
    let flow = flow(engine);
    [flow.forward.note, flow.reverse.note].map(|note| note.time().is_some())
}

/// How often packets to the target and to the client brought nothing new.
fn again(engine: &dyn Engine) -> [u32; 2] {
    let flow = flow(engine);
    [flow.forward.note, flow.reverse.note].map(Note::again)
}

scenarios! {
    fn each_side_is_timed_once(engine) {
        let opened = open(engine);
        assert_eq!(timed(engine), [false, false]);
        carried(engine, Port::A, &from_client(Port::A, 40_000, SYN));
        carried(engine, Port::Provider, &from_target(&opened, SYN | ACK, &[]));
        assert_eq!(timed(engine), [false, true]);
        let provider = flow(engine).reverse.note.time();
        carried(engine, Port::Provider, &from_target(&opened, SYN | ACK, &[]));
        assert_eq!(timed(engine), [false, true]);
        carried(engine, Port::A, &client(ACK));
        assert_eq!(timed(engine), [true, true]);
        let both = |engine: &dyn Engine| {
            let flow = flow(engine);
            [flow.forward.note, flow.reverse.note].map(Note::time)
        };
        let before = both(engine);
        assert_eq!(before[1], provider);
        // Whatever comes later.
        carried(engine, Port::Provider, &from_target(&opened, SYN | ACK, &[]));
        carried(engine, Port::A, &client(ACK | PSH).with_payload(b"data"));
        carried(engine, Port::A, &client(ACK));
        assert_eq!(both(engine), before);
    }

    /// Whole milliseconds pass between the packets: each side has its own.
    fn each_side_has_its_own_time(engine) {
        const PROVIDERS: Duration = Duration::from_millis(8);
        const CONSUMERS: Duration = Duration::from_millis(30);
        let began = Instant::now();
        let opened = open(engine);
        engine.wait(PROVIDERS);
        carried(engine, Port::Provider, &from_target(&opened, SYN | ACK, &[]));
        engine.wait(CONSUMERS);
        carried(engine, Port::A, &client(ACK));
        let flow = flow(engine);
        let [consumers, providers] = [flow.forward.note, flow.reverse.note].map(|note| {
            // A thousandth may be missing.
            let least = u64::from(note.time().expect("it is timed"));
            Duration::from_micros(least + least / 1000 + 1)
        });
        assert!(providers >= PROVIDERS && consumers >= CONSUMERS, "{providers:?} {consumers:?}");
        let both = began.elapsed().max(PROVIDERS + CONSUMERS) * 11 / 10;
        assert!(providers + consumers <= both, "{providers:?} and {consumers:?} of {both:?}");
    }

    fn what_is_sent_again_is_counted_by_direction(engine) {
        let opened = established(engine);
        let question = client(ACK | PSH).with_payload(b"question");
        carried(engine, Port::A, &question);
        assert_eq!(again(engine), [0, 0]);
        for times in 1..=3 {
            carried(engine, Port::A, &question);
            assert_eq!(again(engine), [times, 0]);
        }
        let answer = target(&opened, ACK | PSH).with_payload(b"an answer");
        carried(engine, Port::Provider, &answer);
        let part = target(&opened, ACK | PSH).with_payload(b"an ans");
        carried(engine, Port::Provider, &part);
        assert_eq!(again(engine), [3, 1]);
        // Acknowledgements that say the same carry no data.
        for _ in 0..3 {
            carried(engine, Port::A, &client(ACK));
        }
        let longer = client(ACK | PSH).with_payload(b"question and more");
        carried(engine, Port::A, &longer);
        assert_eq!(again(engine), [3, 1], "some of it is new");
    }

    fn a_new_flow_begins_without_notes(engine) {
        established(engine);
        let question = client(ACK | PSH).with_payload(b"question");
        carried(engine, Port::A, &question);
        carried(engine, Port::A, &question);
        let live = flow(engine);
        end(engine, &live);
        pass(engine, 2_000);
        let next = open(engine);
        assert_eq!((timed(engine), again(engine)), ([false, false], [0, 0]));
        carried(engine, Port::Provider, &from_target(&next, SYN | ACK, &[]));
        assert_eq!(timed(engine), [false, true]);
    }
}
