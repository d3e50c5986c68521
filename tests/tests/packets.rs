//! Packets in, packets out, byte for byte: every scenario runs on the engine with its maps in ordinary memory, on the XDP programs
//! in the kernel (BPF_PROG_TEST_RUN), and on the classifiers, which get each frame by a veth, and must come out the same.

#[path = "packets/anew.rs"]
mod anew;
#[path = "packets/arp.rs"]
mod arp;
#[path = "packets/connection.rs"]
mod connection;
#[path = "packets/echo.rs"]
mod echo;
#[path = "packets/extension_headers.rs"]
mod extension_headers;
#[path = "packets/flow.rs"]
mod flow;
#[path = "packets/fragments.rs"]
mod fragments;
#[path = "packets/frame.rs"]
mod frame;
#[path = "packets/icmp.rs"]
mod icmp;
#[path = "packets/interfaces.rs"]
mod interfaces;
#[path = "packets/ipv6.rs"]
mod ipv6;
#[path = "packets/ipv6_errors.rs"]
mod ipv6_errors;
#[path = "packets/ipv6_fragments.rs"]
mod ipv6_fragments;
#[path = "packets/jumbo.rs"]
mod jumbo;
#[path = "packets/left.rs"]
mod left;
#[path = "packets/life.rs"]
mod life;
#[path = "packets/limits.rs"]
mod limits;
#[path = "packets/listeners.rs"]
mod listeners;
#[path = "packets/malformed.rs"]
mod malformed;
#[path = "packets/mss.rs"]
mod mss;
#[path = "packets/netfilter.rs"]
mod netfilter;
#[path = "packets/notes.rs"]
mod notes;
#[path = "packets/packet.rs"]
mod packet;
#[path = "packets/refused.rs"]
mod refused;
#[path = "packets/tags.rs"]
mod tags;
#[path = "packets/told.rs"]
mod told;
#[path = "packets/totals.rs"]
mod totals;
#[path = "packets/udp.rs"]
mod udp;
#[path = "packets/unreachable.rs"]
mod unreachable;
#[path = "packets/wide.rs"]
mod wide;
#[expect(dead_code, reason = "the model test uses the rest")]
#[path = "packets/world.rs"]
mod world;

/// Makes each scenario a test on the host's engine and one on each kind of the kernel's.
///
/// `with(EDIT)` changes the text of examples/overlap.toml first.
#[macro_export]
macro_rules! scenarios {
    ($($(#[doc = $doc:literal])* fn $name:ident($engine:ident) $(with($edit:expr))? $body:block)+) => {
        $(
            $(#[doc = $doc])*
            mod $name {
                use super::*;

                fn scenario($engine: &mut dyn $crate::world::Engine) $body

                fn edit(text: String) -> String {
                    $(let text = $edit(text);)?
                    text
                }

                #[test]
                fn host() {
                    scenario(&mut $crate::world::Host::new(&edit));
                }

                fn run(kind: $crate::world::ProgramKind) {
                    $crate::world::Kernel::run(kind, &edit, |kernel| scenario(kernel));
                }

                #[test]
                fn xdp() {
                    run($crate::world::ProgramKind::Xdp);
                }

                #[test]
                fn classifier() {
                    run($crate::world::ProgramKind::Classifier);
                }
            }
        )+
    };
}

/// Makes a scenario a test of each mix of families: it is told its client's and its target's.
#[macro_export]
macro_rules! mixes {
    ($scenario:ident) => {
        $crate::scenarios! {
            fn six_to_six(engine) with($crate::wide::six) {
                $scenario(engine, Family::Six, Family::Six);
            }

            fn four_to_six(engine) with($crate::wide::six) {
                $scenario(engine, Family::Four, Family::Six);
            }

            fn six_to_four(engine) with($crate::wide::dualstack) {
                $scenario(engine, Family::Six, Family::Four);
            }

            fn four_to_four_where_others_have_six(engine) with($crate::wide::dualstack) {
                $scenario(engine, Family::Four, Family::Four);
            }
        }
    };
}
