//! The server: a Unix socket that only one daemon can hold.

use std::fs::{self, DirBuilder, File, Permissions, TryLockError};
use std::future::Future;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use nix::unistd::Gid;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;

use super::Gateway;
use super::peer::Peer;
use super::routes::router;

/// Longest path a Unix socket can be bound to: `sun_path` of unix(7) less its final NUL.
const PATH_MAX: usize = 107;

/// Name, in its private directory, of a socket that is not yet in its place.
const UNPUBLISHED: &str = "s";

/// How long another daemon may take to bind its socket in the same directory.
const BIND_PATIENCE: Duration = Duration::from_secs(5);

/// How long answers under way may take once the daemon is told to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

/// Why the control socket could not be served.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A daemon answers there.
    #[error(
        "another privatelink daemon ({peer}) serves this socket; stop it or choose another --socket"
    )]
    InUse {
        /// The process that listens, `pid 12`.
        peer: String,
    },
    /// Something stands there that is not ours to remove.
    #[error("{} is not a socket: remove it or choose another --socket", path.display())]
    NotASocket {
        /// What was to be bound.
        path: PathBuf,
    },
    /// The kernel's limit on socket paths.
    #[error(
        "the socket path {} is {excess} bytes too long: choose a shorter --socket",
        path.display()
    )]
    TooLong {
        /// What was to be bound.
        path: PathBuf,
        /// By how many bytes.
        excess: usize,
    },
    /// The directory stayed locked.
    #[error(
        "another program holds a lock on {}: stop it or choose another --socket",
        directory.display()
    )]
    Locked {
        /// Directory of the socket.
        directory: PathBuf,
    },
    /// A system call failed.
    #[error(
        "cannot {action} {} ({source}): run as root, or choose another --socket",
        path.display()
    )]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// Accepting connections failed.
    #[error("cannot serve the control socket: {0}")]
    Serve(#[source] io::Error),
}

/// Names what failed on which path.
fn io_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> ServerError {
    move |source| ServerError::Io { action, path: path.to_owned(), source }
}

/// The control API, bound to its socket.
///
/// Clients may connect from [`Server::bind`] on and are answered by [`Server::serve`]. Dropping it
/// removes the socket.
pub struct Server {
    listener: UnixListener,
    socket: SocketFile,
    gateway: Arc<dyn Gateway>,
    router: Router,
}

impl Server {
    /// Binds the control socket at `path`, with mode 0660, and `group` if one is given.
    ///
    /// Creates its directory (0755) if there is none. A socket nobody listens on, which a killed
    /// daemon leaves behind, is replaced. Must be called within a tokio runtime with I/O and time.
    ///
    /// # Errors
    /// [`ServerError::InUse`] if another daemon listens there; any other [`ServerError`] if the
    /// socket cannot be created.
    pub async fn bind(
        path: impl AsRef<Path>,
        group: Option<Gid>,
        gateway: Arc<dyn Gateway>,
    ) -> Result<Self, ServerError> {
        let path = path.as_ref();
        let directory = directory_of(path);
        create_directory(directory)?;
        // Held until return, so that of two daemons that start at once the second sees the first
        // listen; without it both could find a stale socket, and the later rename would win.
        let _lock = lock(directory).await?;
        refuse_if_served(path).await?;
        let (listener, socket) = publish(path, group)?;
        let router = router(gateway.clone());
        Ok(Self { listener, socket, gateway, router })
    }

    /// Answers clients until `shutdown` completes, then removes the socket.
    ///
    /// Streams of events and captures end then; answers under way get two seconds to finish.
    ///
    /// # Errors
    /// [`ServerError::Serve`] if the listening socket fails.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), ServerError> {
        let Self { listener, socket, gateway, router } = self;
        let (stop, stopped) = oneshot::channel::<()>();
        let router = router.into_make_service_with_connect_info::<Peer>();
        let serving = axum::serve(listener, router).with_graceful_shutdown(async {
            // An error means that `stop` was dropped, which asks for the same.
            let _ = stopped.await;
        });
        let mut serving = pin!(serving.into_future());
        tokio::select! {
            ended = &mut serving => return ended.map_err(ServerError::Serve),
            () = shutdown => {}
        }
        drop(socket);
        gateway.events().close();
        gateway.end_capture();
        drop(stop);
        // A client that reads slowly, or never finishes its request, does not keep the daemon up.
        match tokio::time::timeout(STOP_PATIENCE, serving).await {
            Ok(ended) => ended.map_err(ServerError::Serve),
            Err(_) => Ok(()),
        }
    }
}

/// The socket in the file system, removed on drop unless something else has taken its place.
struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == (self.device, self.inode));
        if ours && let Err(error) = fs::remove_file(&self.path) {
            log::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn create_directory(directory: &Path) -> Result<(), ServerError> {
    if directory.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)
        // The umask may have taken bits away.
        .and_then(|()| fs::set_permissions(directory, Permissions::from_mode(0o755)))
        .map_err(io_error("create", directory))
}

/// Locks the directory of the socket against other daemons that bind there.
async fn lock(directory: &Path) -> Result<File, ServerError> {
    let file = File::open(directory).map_err(io_error("open", directory))?;
    let deadline = Instant::now() + BIND_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(source)) => return Err(io_error("lock", directory)(source)),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                return Err(ServerError::Locked { directory: directory.to_owned() });
            }
            // flock(2) has no timeout and a blocked thread cannot be cancelled, hence the polling.
            Err(TryLockError::WouldBlock) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Passes if nothing is at `path`, or a socket nobody listens on.
async fn refuse_if_served(path: &Path) -> Result<(), ServerError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_error("look at", path)(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(ServerError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Ok(stream) => {
            let pid = stream.peer_cred().ok().and_then(|peer| peer.pid());
            let peer = pid.map_or_else(|| "pid unknown".into(), |pid| format!("pid {pid}"));
            Err(ServerError::InUse { peer })
        }
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Ok(()),
            // Its queue is full: it listens, but does not answer.
            io::ErrorKind::WouldBlock => Err(ServerError::InUse { peer: "busy".into() }),
            _ => Err(io_error("connect to", path)(error)),
        },
    }
}

/// Binds a socket that appears at `path` with its group and mode 0660 from its first moment, and listens on it.
///
/// bind(2) creates the socket with 0777 less the umask, and the umask belongs to the whole process.
/// So it is bound inside a directory of mode 0700, given its mode, and renamed into place.
fn publish(path: &Path, group: Option<Gid>) -> Result<(UnixListener, SocketFile), ServerError> {
    let private = directory_of(path).join(format!(".pl{}", std::process::id()));
    let unpublished = private.join(UNPUBLISHED);
    // Binding needs the one path to fit, clients the other.
    let longest = unpublished.as_os_str().len().max(path.as_os_str().len());
    if longest > PATH_MAX {
        return Err(ServerError::TooLong { path: path.to_owned(), excess: longest - PATH_MAX });
    }
    // Left by a process of the same id that was killed right here; else there is nothing to remove.
    let _ = fs::remove_file(&unpublished);
    let _ = fs::remove_dir(&private);
    DirBuilder::new().mode(0o700).create(&private).map_err(io_error("create", &private))?;
    let published = UnixListener::bind(&unpublished).map_err(io_error("bind", &unpublished));
    let published = published.and_then(|listener| {
        chown(&unpublished, None, group.map(Gid::as_raw))
            .and_then(|()| fs::set_permissions(&unpublished, Permissions::from_mode(0o660)))
            .and_then(|()| fs::rename(&unpublished, path))
            .and_then(|()| fs::symlink_metadata(path))
            .map(|found| {
                let socket =
                    SocketFile { path: path.to_owned(), device: found.dev(), inode: found.ino() };
                (listener, socket)
            })
            .map_err(io_error("create the socket", path))
    });
    if published.is_err() {
        let _ = fs::remove_file(&unpublished);
    }
    if let Err(error) = fs::remove_dir(&private) {
        log::warn!("cannot remove {}: {error}", private.display());
    }
    published
}
