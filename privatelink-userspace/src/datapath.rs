//! The kernel side as the daemon sees it. The only module that knows aya.

mod address_totals;
mod adopt;
mod attach;
mod capture;
mod clock;
mod error;
mod filter;
mod flow_events;
mod flow_table;
mod handle;
mod hook;
mod mapped;
mod object;
mod pins;
mod pools;
mod program_kind;
mod records;
mod tcx_link;
mod unpin;
mod write;
mod xdp_link;

pub use adopt::Sizes;
pub use attach::{Attachment, Links, detach};
pub use capture::Ring;
pub use clock::{Clock, jiffies_per_second};
pub use error::DatapathError;
pub use flow_events::FlowEvents;
pub use flow_table::{FlowTable, View};
pub use object::{Datapath, TestRun, Verdict};
pub use pins::Pins;
pub use program_kind::ProgramKind;
