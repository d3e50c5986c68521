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
        let client = Client::new(&args.packets.socket);
        let answer = client.open(&Question::capture(&args.query())).await.map_err(unanswered)?;
        let mut out = output(&args.write)?;
        let mut blocks = Blocks::default();
        let ended = follow(&client, answer, |piece| {
            let whole = blocks.take(piece);
            out.write_all(&whole).and_then(|()| out.flush())
        });
        let ended = ended.await;
        report(blocks.statistics().sum());
        ended
    })
}

/// Prints a line for each packet.
pub(super) fn trace(args: &TraceArgs) -> Result<(), Failure> {
    runtime()?.block_on(async {
        let client = Client::new(&args.packets.socket);
        let question = Question::trace(&args.packets.query());
        let answer = client.open(&question).await.map_err(unanswered)?;
        let mut out = io::stdout().lock();
        let mut unread = Vec::new();
        let mut summary = CaptureSummary::default();
        let ended = follow(&client, answer, |piece| {
            unread.extend_from_slice(piece);
            let end = unread.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            let lines: Vec<u8> = unread.drain(..end).collect();
            for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                match serde_json::from_slice(line)? {
                    TraceLine::Summary(so_far) => summary = so_far,
                    TraceLine::Packet(packet) => match args.output {
                        EventsFormat::Table => writeln!(out, "{}", trace::Line(&packet))?,
                        EventsFormat::Json => {
                            serde_json::to_writer(&mut out, &packet)?;
                            writeln!(out)?;
                        }
                    },
                }
            }
            out.flush()
        });
        let ended = ended.await;
        report(summary);
        ended
    })
}

/// Hands over what arrives, until the daemon ends it or nobody takes it any more. A signal has the daemon end it, so that
/// what is on its way still arrives.
async fn follow(
    client: &Client,
    mut answer: Answer,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    loop {
        let piece = tokio::select! {
            piece = answer.next() => piece?,
            () = signals.next() => break,
        };
        match piece {
            Some(piece) if written(take(&piece))?.is_break() => return Ok(()),
            Some(_) => {}
            None => return Ok(()),
        }
    }
    let rest = async {
        client.ask(&Question::end_capture()).await?;
        while let Some(piece) = answer.next().await? {
            if let ControlFlow::Break(()) = written(take(&piece))? {
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

fn output(path: &Path) -> Result<Box<dyn Write>, Failure> {
    if path == Path::new("-") {
        return Ok(Box::new(io::stdout().lock()));
    }
    let file = File::options().write(true).create_new(true).mode(0o600).open(path);
    let file = file.map_err(|error| {
        Failure::mistake(anyhow!("cannot create {} ({error}): choose another -w", path.display()))
    })?;
    Ok(Box::new(file))
}

fn report(CaptureSummary { packets, left_out, lost }: CaptureSummary) {
    // Without a standard error there is nobody to tell.
    let _ = writeln!(
        io::stderr(),
        "{packets} packets captured, {left_out} left out by --sample and --rate, {lost} lost"
    );
}
