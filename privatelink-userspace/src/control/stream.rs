//! The stream of events as the client reads it.

use super::{Answer, ClientError};

/// Reads the events of an answer, each as the text of its object.
#[derive(Debug)]
pub struct EventStream {
    answer: Answer,
    unread: Vec<u8>,
}

impl EventStream {
    /// The events of an answer to [`Question::events`](super::Question::events).
    pub const fn new(answer: Answer) -> Self {
        Self { answer, unread: Vec::new() }
    }

    /// The next event; `None` after the last.
    ///
    /// # Errors
    /// A [`ClientError`] if the daemon breaks off or stays silent.
    pub async fn next(&mut self) -> Result<Option<String>, ClientError> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unread.drain(..=end).collect();
                // The other lines repeat what is in the object, end it, or keep the connection alive.
                if let Some(data) = line.strip_prefix(b"data:") {
                    return Ok(Some(String::from_utf8_lossy(data.trim_ascii()).into_owned()));
                }
            } else {
                match self.answer.next().await? {
                    Some(piece) => self.unread.extend_from_slice(&piece),
                    None => return Ok(None),
                }
            }
        }
    }
}
