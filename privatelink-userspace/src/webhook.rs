//! Posts events to a server, one after the other, and again until it takes them; nothing waits for that.
//!
//! The queue is what the daemon keeps of its events anyway: a server that is too slow loses the oldest, as every reader
//! does. An event that was under way when the settings changed may be posted twice; its id tells.

mod client;
mod complaints;
pub mod secret;
#[cfg(test)]
mod tests;
mod tries;

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::client::{Failure, Poster};
use self::complaints::Complaints;
use self::tries::pause;
use crate::api::{Event, EventKinds, What};
use crate::events::{Begin, Events, Follower};
use crate::model;

/// The task that posts; ended when dropped.
#[derive(Debug)]
pub struct Webhook {
    settings: watch::Sender<Option<model::Webhook>>,
    task: JoinHandle<()>,
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Webhook {
    /// Starts to post, with the oldest event that is kept; with no settings nothing is posted.
    ///
    /// Needs a running tokio runtime.
    pub fn start(events: &Events, settings: Option<model::Webhook>) -> Self {
        let follower = events.follow(Begin::Oldest, EventKinds::default());
        let (settings, changes) = watch::channel(settings);
        Self { settings, task: tokio::spawn(post_as_set(follower, changes)) }
    }

    /// Goes on by other settings. Where there were none before, it begins with what happens from now on.
    pub fn set(&self, settings: Option<model::Webhook>) {
        self.settings.send_if_modified(|now| {
            let is_other = *now != settings;
            *now = settings;
            is_other
        });
    }
}

/// Posts by the settings in force, until the daemon ends.
async fn post_as_set(
    mut follower: Follower,
    mut settings: watch::Receiver<Option<model::Webhook>>,
) {
    // What is under way when the settings change is not lost.
    let mut under_way = None;
    loop {
        let in_force = settings.borrow_and_update().clone();
        let posting = async {
            match in_force {
                Some(webhook) => post_all(webhook, &mut follower, &mut under_way).await,
                None => {
                    under_way = None;
                    pass_over_all(&mut follower).await;
                }
            }
        };
        tokio::select! {
            // Settings first: what happens after they were set is not passed over.
            biased;
            changed = settings.changed() => if changed.is_err() { return },
            () = posting => return,
        }
    }
}

async fn pass_over_all(follower: &mut Follower) {
    while follower.next().await.is_some() {}
}

async fn post_all(
    webhook: model::Webhook,
    follower: &mut Follower,
    under_way: &mut Option<Arc<Event>>,
) {
    let mut complaints = Complaints::about(&webhook.url);
    follower.only(webhook.kinds.clone());
    let poster = Poster::new(webhook);
    loop {
        let event = match under_way {
            Some(event) => Arc::clone(event),
            None => match follower.next().await {
                Some(event) => Arc::clone(under_way.insert(event)),
                None => return,
            },
        };
        if let What::Lost { events } = event.what {
            complaints.lost(events, "it is too slow");
        }
        deliver(&event, &poster, &mut complaints).await;
        *under_way = None;
    }
}

/// Posts an event until it is taken, refused or too old.
async fn deliver(event: &Event, poster: &Poster, complaints: &mut Complaints) {
    let begun = Instant::now();
    for failed in 1.. {
        let pause = match poster.post(event).await {
            Ok(()) => return complaints.over(),
            Err(Failure::Refused(why)) => return complaints.lost(1, &why),
            Err(Failure::Passing(why)) => match pause(failed, begun.elapsed()) {
                Some(pause) => {
                    complaints.trouble(&why);
                    pause
                }
                None => return complaints.lost(1, &why),
            },
        };
        tokio::time::sleep(pause).await;
    }
}
