//! What clients see.
use crate::report::Report;
pub(crate) fn measure(_: &mut Report) -> anyhow::Result<()> { Ok(()) }
