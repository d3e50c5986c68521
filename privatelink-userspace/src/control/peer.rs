//! Who is at the other end of the control socket.

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use serde::Serialize;
use tokio::net::UnixListener;

/// A client, as the kernel knows it (`SO_PEERCRED` of unix(7)); nothing where the daemon itself acts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Peer {
    /// User id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Group id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// Process id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
}

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        stream.io().peer_cred().map_or_else(
            |_| Self::default(),
            |peer| Self { uid: Some(peer.uid()), gid: Some(peer.gid()), pid: peer.pid() },
        )
    }
}
