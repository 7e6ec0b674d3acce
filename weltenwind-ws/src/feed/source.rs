//! What fills the ring of a channel's room.

use std::{sync::Arc, time::Duration};

use weltenwind_core::{
    Class, Classify as _, Code, CursorSealer,
    bus::RoomEvent,
    chain,
    chat::{Change, ChatError, LiveChannel, LiveEvent, RoomCursor, RoomPosition},
};

use super::{Channel, Feed, lock, pages::FRAME_BYTES, registry::Shared};
use crate::{
    records,
    ring::{Segment, SegmentBuilder},
};

/// How long a room is kept in which nobody is.
const LINGER: Duration = Duration::from_secs(10);
/// Pauses before the store is asked again after it was away.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Follows a channel and begins to fill its room.
pub(super) async fn start(shared: &Arc<Shared>, feed: &Arc<Feed>, channel: &Channel) -> Result<(), ChatError> {
    let live = channel.shared.live().await?;
    feed.begin(live.position());
    let cursors = channel.cursors.clone();
    let source = Source { feed: Arc::clone(feed), rooms: Arc::clone(shared), live, cursors };
    tokio::spawn(source.run());
    Ok(())
}

struct Source {
    feed: Arc<Feed>,
    rooms: Arc<Shared>,
    live: LiveChannel,
    cursors: CursorSealer,
}

impl Source {
    /// Tells the room what happens until nobody is in it, or it can no longer be heard.
    async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            // Silence is as good a moment as any to look whether somebody is still there.
            let told = match tokio::time::timeout(LINGER, self.live.next()).await {
                Ok(Ok(event)) => {
                    self.tell(event);
                    Ok(())
                }
                Ok(Err(error)) => Err(error),
                Err(_) => Ok(()),
            };
            match told {
                Ok(()) => pause = FIRST_PAUSE,
                Err(error) if error.class() == Class::Unavailable => {
                    tracing::warn!(room = %self.feed.room, error = chain(&error), "a room is late");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(error) => return self.end(&error),
            }
            if self.is_idle() && self.rooms.give_up(&self.feed) {
                return;
            }
        }
    }

    fn end(&self, error: &ChatError) {
        let code = error.code();
        if code == Code::Internal {
            tracing::error!(room = %self.feed.room, error = chain(error), "a room has ended");
        }
        self.rooms.forget(&self.feed);
        self.feed.end(code);
    }

    fn is_idle(&self) -> bool {
        lock(&self.feed.bells).is_empty()
    }

    /// Tells an event, and all that is known by now along with it.
    fn tell(&mut self, first: LiveEvent) {
        let mut segment = SegmentBuilder::new(self.feed.position());
        let mut next = Some(first);
        while let Some(event) = next {
            if let LiveEvent::Gap(cause) = event {
                self.finish(segment);
                let (before, after) = (self.feed.position(), self.live.position());
                self.feed.tell(Segment::gap(self.feed.gap(cause, after), cause, before, after));
                return;
            }
            self.push(&mut segment, event);
            if segment.len() >= FRAME_BYTES {
                break;
            }
            next = self.live.ready();
        }
        self.finish(segment);
    }

    fn finish(&self, segment: SegmentBuilder) {
        if !segment.is_empty() {
            self.feed.tell(segment.finish(self.replayed_since()));
        }
    }

    /// Returns from where on a replay is under way, if one is: of what was posted behind that, not all is told yet.
    fn replayed_since(&self) -> Option<Change> {
        self.live.is_replaying().then(|| self.live.replayed_since())
    }

    fn push(&self, segment: &mut SegmentBuilder, event: LiveEvent) {
        let (event, is_news) = match event {
            LiveEvent::Posted(event) => (event, true),
            LiveEvent::Updated(event) => (event, false),
            LiveEvent::Live | LiveEvent::Gap(_) => return,
        };
        let RoomEvent { message, epoch, .. } = &*event;
        if is_news && !message.is_new() {
            segment.weave(self.live.replayed_since());
        }
        let at = RoomPosition { epoch: *epoch, change: message.change };
        let told = RoomCursor { at, whole: self.replayed_since().unwrap_or(at.change) };
        let record = records::write_change(message, told, is_news, &self.cursors);
        segment.push(message.change, &record, is_news.then_some(message.sent_at));
    }
}
