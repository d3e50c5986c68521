//! A body that is sent while it is written.
//!
//! A blocking thread writes it into pieces; a bounded channel takes them to the connection. So memory
//! stays bounded, a client that reads slowly holds up that thread only, and when the client is gone
//! the next piece cannot be sent and the thread ends.

use std::io::{self, Write};

use axum::body::{Body, Bytes};
use futures_util::stream;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};

use super::GatewayError;

/// Bytes of a piece.
const PIECE: usize = 128 << 10;
/// What may lie beyond a piece's end: what is written at once.
const SLACK: usize = 1 << 10;
/// Pieces that wait for the connection.
const WAITING: usize = 4;

/// Why a body is not whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyError {
    /// The gateway could not answer.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
    /// Whoever wrote it panicked.
    #[error(transparent)]
    Panic(#[from] JoinError),
}

/// What a body is written to. Fails when nobody reads it any more.
#[derive(Debug)]
pub(super) struct BodyWriter {
    piece: Vec<u8>,
    pieces: mpsc::Sender<Bytes>,
}

impl BodyWriter {
    fn send(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.piece, Vec::with_capacity(PIECE + SLACK));
        self.pieces.blocking_send(piece.into()).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for BodyWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE { self.send() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The body that `write` writes.
///
/// A body of one piece is whole before this returns. A failure after that breaks the connection off, so
/// that the client does not take the part for the whole.
///
/// # Errors
/// Any failure within the first piece.
pub(super) async fn body(
    write: impl FnOnce(&mut BodyWriter) -> Result<(), GatewayError> + Send + 'static,
) -> Result<Body, BodyError> {
    let (pieces, mut written) = mpsc::channel(WAITING);
    let writing = tokio::task::spawn_blocking(move || {
        let mut out = BodyWriter { piece: Vec::new(), pieces };
        write(&mut out)?;
        // An error means that nobody wants the end any more.
        let _ = out.send();
        Ok(())
    });
    let mut writer = Writer(Some(writing));
    let first = written.recv().await.unwrap_or_default();
    let Some(second) = written.recv().await else {
        writer.end().await?;
        return Ok(Body::from(first));
    };
    let begun = stream::iter([Ok(first), Ok(second)]);
    let rest =
        stream::try_unfold((written, writer), async |(mut written, mut writer)| {
            match written.recv().await {
                Some(piece) => Ok(Some((piece, (written, writer)))),
                None => writer.end().await.map(|()| None),
            }
        });
    Ok(Body::from_stream(stream::StreamExt::chain(begun, rest)))
}

/// The thread that writes.
struct Writer(Option<JoinHandle<Result<(), GatewayError>>>);

impl Writer {
    /// How it ended, to be asked once it has sent its last piece.
    async fn end(&mut self) -> Result<(), BodyError> {
        let Some(writing) = self.0.take() else {
            return Ok(());
        };
        let ended = writing.await.map_err(BodyError::from).and_then(|end| Ok(end?));
        if let Err(error) = &ended
            && !matches!(error, BodyError::Gateway(GatewayError::Refused(_)))
        {
            log::error!("a control request failed: {error}");
        }
        ended
    }
}
