//! `privatelink capture` and `privatelink trace`: packets as they arrive, until a limit or a signal ends it.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write};
use std::ops::ControlFlow;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::timeout;

use super::args::{CaptureArgs, EventsFormat, TraceArgs};
use super::commands::{runtime, unanswered};
use super::failure::Failure;
use super::stdout::written;
use super::trace;
use crate::api::{CaptureSummary, TraceLine};
use crate::capture::Blocks;
use crate::control::{Answer, Client, Question};

/// How long the daemon may take to end a capture in order.
const END_PATIENCE: Duration = Duration::from_secs(5);

/// Writes a pcapng file.
pub(super) fn capture(args: &CaptureArgs) -> Result<(), Failure> {
    runtime()?.block_on(async {
        if args.write == Path::new("-") && io::stdout().is_terminal() {
            let text = "a capture is not for a terminal: redirect it, write it by -w FILE, or use `privatelink trace`";
            return Err(Failure::mistake(anyhow!(text)));
        }
        let signals = Signals::new()?;
        let client = Client::new(&args.packets.socket);
        let answer = client.open(&Question::capture(&args.query())).await.map_err(unanswered)?;
        let mut out = Output::open(&args.write)?;
        let mut blocks = Blocks::default();
        let ended = follow(&client, answer, signals, |piece| out.write(&blocks.take(piece)));
        let ended = ended.await;
        report(blocks.statistics().sum());
        ended
    })
}

/// Prints a line for each packet.
pub(super) fn trace(args: &TraceArgs) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let signals = Signals::new()?;
        let client = Client::new(&args.packets.socket);
        let question = Question::trace(&args.packets.query());
        let answer = client.open(&question).await.map_err(unanswered)?;
        let mut out = io::stdout().lock();
        let mut unread = Vec::new();
        let mut summary = CaptureSummary::default();
        let ended = follow(&client, answer, signals, |piece| {
            unread.extend_from_slice(piece);
            let end = unread.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let lines: Vec<u8> = unread.drain(..end).collect();
            for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let line = serde_json::from_slice(line)
                    .context("a line of the daemon makes no sense: is it of another version?")?;
                let shown = match (line, args.output) {
                    (TraceLine::Summary(so_far), _) => {
                        summary = so_far;
                        continue;
                    }
                    (TraceLine::Packet(packet), EventsFormat::Table) => {
                        trace::Line(&packet).to_string()
                    }
                    // Cannot fail: texts and numbers.
                    (TraceLine::Packet(packet), EventsFormat::Json) => {
                        serde_json::to_string(&packet).unwrap_or_default()
                    }
                };
                if written(writeln!(out, "{shown}"))?.is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            written(out.flush())
        });
        let ended = ended.await;
        report(summary);
        ended
    })
}

/// Hands over what arrives, until the daemon ends it or nobody takes it any more. A signal has the daemon end it, so that
/// what is on its way still arrives; one that comes before the daemon has begun, too.
async fn follow(
    client: &Client,
    mut answer: Answer,
    mut signals: Signals,
    mut take: impl FnMut(&[u8]) -> Result<ControlFlow<()>, Failure>,
) -> Result<(), Failure> {
    loop {
        let piece = tokio::select! {
            piece = answer.next() => piece?,
            () = signals.next() => break,
        };
        match piece {
            Some(piece) if take(&piece)?.is_break() => return Ok(()),
            Some(_) => {}
            None => return Ok(()),
        }
    }
    let rest = async {
        client.ask(&Question::end_capture()).await?;
        while let Some(piece) = answer.next().await? {
            if take(&piece)?.is_break() {
                break;
            }
        }
        Ok(())
    };
    // A second signal, or a daemon that does not come to it: what has arrived is whole as it is.
    tokio::select! {
        rest = timeout(END_PATIENCE, rest) => rest.unwrap_or(Ok(())),
        () = signals.next() => Ok(()),
    }
}

struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("cannot wait for SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("cannot wait for SIGTERM")?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Where a capture is written.
enum Output<'p> {
    Standard,
    File(File, &'p Path),
}

impl<'p> Output<'p> {
    fn open(path: &'p Path) -> Result<Self, Failure> {
        if path == Path::new("-") {
            return Ok(Self::Standard);
        }
        let file = File::options().write(true).create_new(true).mode(0o600).open(path);
        let remedy = "choose another -w";
        let failed = |error| anyhow!("cannot create {} ({error}): {remedy}", path.display());
        file.map(|file| Self::File(file, path)).map_err(|error| Failure::mistake(failed(error)))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<ControlFlow<()>, Failure> {
        match self {
            Self::Standard => {
                let mut out = io::stdout().lock();
                written(out.write_all(bytes).and_then(|()| out.flush()))
            }
            Self::File(file, path) => {
                let remedy = "make room, or bound the capture by --bytes";
                let written = file.write_all(bytes);
                let failed = |error| anyhow!("cannot write {} ({error}): {remedy}", path.display());
                Ok(ControlFlow::Continue(written.map_err(failed)?))
            }
        }
    }
}

fn report(CaptureSummary { packets, left_out, lost }: CaptureSummary) {
    // Without a standard error there is nobody to tell.
    let _ = writeln!(
        io::stderr(),
        "{packets} packets captured, {left_out} left out by --sample and --rate, {lost} lost"
    );
}
