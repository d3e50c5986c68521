//! The watched program in force, for as long as somebody watches.

use std::sync::Arc;
use std::time::Duration;

use privatelink_common::capture::Order;
use privatelink_common::ticks;
use tokio::task::JoinHandle;

use crate::datapath::DatapathError;
use crate::running::Running;

/// How long the watched program goes on telling unless it is told to.
const LEASE: Duration = Duration::from_secs(5);
/// How often it is told to.
const RENEWAL: Duration = Duration::from_secs(1);
/// Keeps the watched program in force and its order alive.
pub(super) struct Watching {
    running: Arc<Running>,
    renewing: JoinHandle<()>,
}

impl Watching {
    /// Has the watched program run and follow the order.
    pub(super) fn begin(running: Arc<Running>, order: Order) -> Result<Self, DatapathError> {
        renew(&running, order)?;
        running.captures().wanted.send_replace(true);
        let renewed = running.clone();
        let renewing = tokio::spawn(async move {
            loop {
                tokio::time::sleep(RENEWAL).await;
                if let Err(error) = renew(&renewed, order) {
                    log::warn!("the capture may end early: {error}");
                }
            }
        });
        Ok(Self { running, renewing })
    }

    /// Has nothing told any more.
    pub(super) fn silence(&self) {
        self.renewing.abort();
        if let Err(error) = self.running.datapath().set_capture(&Order::NONE) {
            log::warn!("the watched program stops telling when its time is over: {error}");
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.silence();
        self.running.captures().wanted.send_replace(false);
        log::info!("the capture ends");
    }
}

fn renew(running: &Running, order: Order) -> Result<(), DatapathError> {
    let mut datapath = running.datapath();
    let clock = datapath.clock()?;
    let lease = ticks::from_ms(LEASE.as_millis() as u64, clock.per_second);
    datapath.set_capture(&Order { until: clock.tick().0.wrapping_add(lease), ..order })
}
