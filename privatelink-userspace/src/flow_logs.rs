//! What is written of flows: records of their traffic, interval by interval, and a line for each connection.
//!
//! A flow that lives is looked at once in an interval; one that ends, and a packet that is refused, are told by the data
//! path as it happens.

mod access;
mod field;
mod interval;
mod moments;
mod names;
mod progress;
mod record;
mod refusals;
#[cfg(test)]
mod tests;

pub use self::access::Connection;
pub use self::field::{DEFAULT, Field, FormatFault, parse_format};
pub use self::interval::{Interval, Lines};
pub use self::moments::Moments;
pub use self::names::{Interface, Names};
pub use self::record::{Line, Record, Way, header};
