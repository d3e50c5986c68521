//! One request, one complete answer.

use std::time::Duration;

use futures_util::StreamExt;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::Handle;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{Error, Result};

/// Generous: the kernel answers in microseconds unless somebody holds the RTNL lock for long.
const PATIENCE: Duration = Duration::from_secs(10);

/// Repeats of a dump that the kernel marked as inconsistent. What changed during the last one
/// arrives as an event, so giving up loses nothing.
const DUMP_ATTEMPTS: u32 = 3;

/// The connection that carries requests; its task ends with it.
#[derive(Debug)]
pub(super) struct Requests {
    handle: Handle,
    task: JoinHandle<()>,
}

impl Drop for Requests {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Requests {
    /// Opens the connection.
    pub(super) fn open() -> Result<Self> {
        let (mut connection, handle, _) = rtnetlink::new_connection().map_err(Error::Open)?;
        // Without these a stream that ends because the connection died looks like a complete answer,
        // and every interface would seem to be gone.
        connection.set_forward_done(true);
        connection.set_forward_ack(true);
        Ok(Self { handle, task: tokio::spawn(connection) })
    }

    /// Everything of a kind.
    pub(super) async fn dump(
        &self,
        request: &'static str,
        message: RouteNetlinkMessage,
    ) -> Result<Vec<RouteNetlinkMessage>> {
        let mut attempt = 1;
        loop {
            let answer =
                self.exchange(request, message.clone(), NLM_F_REQUEST | NLM_F_DUMP).await?;
            if !answer.interrupted || attempt == DUMP_ATTEMPTS {
                return Ok(answer.messages);
            }
            attempt += 1;
        }
    }

    /// A single question or command; `flags` in addition to `NLM_F_REQUEST | NLM_F_ACK`.
    pub(super) async fn ask(
        &self,
        request: &'static str,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Vec<RouteNetlinkMessage>> {
        Ok(self.exchange(request, message, NLM_F_REQUEST | NLM_F_ACK | flags).await?.messages)
    }

    async fn exchange(
        &self,
        request: &'static str,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> Result<Answer> {
        let mut message = NetlinkMessage::from(message);
        message.header.flags = flags;
        let mut stream =
            self.handle.clone().request(message).map_err(|_| Error::Closed { request })?;
        let collect = async {
            let mut answer = Answer::default();
            while let Some(part) = stream.next().await {
                answer.interrupted |= part.header.flags & NLM_F_DUMP_INTR != 0;
                match part.payload {
                    NetlinkPayload::InnerMessage(inner) => answer.messages.push(inner),
                    NetlinkPayload::Error(error) if error.code.is_some() => {
                        return Err(Error::Refused { request, source: error.to_io() });
                    }
                    NetlinkPayload::Error(_) | NetlinkPayload::Done(_) => return Ok(answer),
                    _ => {}
                }
            }
            Err(Error::Closed { request })
        };
        timeout(PATIENCE, collect)
            .await
            .unwrap_or(Err(Error::Timeout { request, waited: PATIENCE }))
    }
}

#[derive(Default)]
struct Answer {
    messages: Vec<RouteNetlinkMessage>,
    interrupted: bool,
}
