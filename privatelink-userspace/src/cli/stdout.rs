//! Writing to standard output: a reader that has closed it has read enough, which is no failure.

use std::io::{self, BufWriter, StdoutLock, Write};
use std::ops::ControlFlow;

use super::failure::Failure;
use crate::control::Answer;

/// Prints, for a command that ends then.
pub(super) fn print(
    write: impl FnOnce(&mut BufWriter<StdoutLock<'_>>) -> io::Result<()>,
) -> Result<(), Failure> {
    offer(write).map(drop)
}

/// Prints; breaks when nobody reads it any more.
pub(super) fn offer(
    write: impl FnOnce(&mut BufWriter<StdoutLock<'_>>) -> io::Result<()>,
) -> Result<ControlFlow<()>, Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    let result = write(&mut out).and_then(|()| out.flush());
    let end = written(result)?;
    if end.is_break() {
        // Dropped, the buffer would try the pipe once more.
        let _ = out.into_parts();
    }
    Ok(end)
}

/// Prints the daemon's answer as it arrives; breaks when nobody reads it any more.
pub(super) async fn copy(mut answer: Answer) -> Result<ControlFlow<()>, Failure> {
    let mut out = io::stdout().lock();
    while let Some(piece) = answer.next().await? {
        if written(out.write_all(&piece))?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    written(out.flush())
}

/// What the end of writing means.
pub(super) fn written(result: io::Result<()>) -> Result<ControlFlow<()>, Failure> {
    match result {
        Ok(()) => Ok(ControlFlow::Continue(())),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
        Err(error) => {
            let text = format!("cannot write to standard output ({error}): redirect it elsewhere");
            Err(anyhow::Error::new(error).context(text).into())
        }
    }
}
