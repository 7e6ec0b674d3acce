//! Messages that wait for their acknowledgement.

use std::collections::VecDeque;

use tokio::sync::oneshot;
use weltenwind_core::{
    Room,
    wire::{ClientRecord, MessageBody},
};

use crate::{api::Draft, error::ClientError};

type Answer = Result<MessageBody, ClientError>;

#[derive(Debug)]
struct Post {
    draft: Draft,
    /// The request it was sent as on the present connection.
    sent_as: Option<i64>,
    asker: oneshot::Sender<Answer>,
}

/// A queue with a bound. What is in it was not acknowledged, and is sent again under its client id after a reconnect.
#[derive(Debug)]
pub(super) struct Posts {
    waiting: VecDeque<Post>,
    limit: usize,
}

impl Posts {
    pub(super) const fn new(limit: usize) -> Self {
        Self { waiting: VecDeque::new(), limit }
    }

    pub(super) fn push(&mut self, draft: Draft, asker: oneshot::Sender<Answer>) {
        if self.waiting.len() >= self.limit {
            // Who asked may have gone.
            let _ = asker.send(Err(ClientError::QueueFull(self.limit)));
            return;
        }
        self.waiting.push_back(Post { draft, sent_as: None, asker });
    }

    /// Returns whether messages wait.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Makes the records of everything that was not sent on this connection and may be, in order.
    pub(super) fn send(&mut self, last_id: &mut i64, may_send: impl Fn(Room) -> bool) -> Vec<ClientRecord> {
        let unsent = self.waiting.iter_mut().filter(|post| post.sent_as.is_none());
        let ready = unsent.filter(|post| may_send(Room::Channel(post.draft.channel)));
        let records = ready.map(|post| {
            *last_id += 1;
            post.sent_as = Some(*last_id);
            let Draft { channel, body, client_id, reply_to } = post.draft.clone();
            ClientRecord::Pub { id: *last_id, room: Room::Channel(channel), client_id, body, reply_to }
        });
        records.collect()
    }

    /// Returns the room of a message that was sent as this request.
    pub(super) fn room_of(&self, id: i64) -> Option<Room> {
        let post = self.waiting.iter().find(|post| post.sent_as == Some(id))?;
        Some(Room::Channel(post.draft.channel))
    }

    /// Answers who posted, and returns whether this request was a post.
    pub(super) fn settle(&mut self, id: i64, answer: Answer) -> bool {
        let Some(at) = self.waiting.iter().position(|post| post.sent_as == Some(id)) else { return false };
        if let Some(post) = self.waiting.remove(at) {
            // Who posted may have gone; the message is stored all the same.
            let _ = post.asker.send(answer);
        }
        true
    }

    /// Puts a message back, to be sent again.
    pub(super) fn put_back(&mut self, id: i64) {
        for post in self.waiting.iter_mut().filter(|post| post.sent_as == Some(id)) {
            post.sent_as = None;
        }
    }

    /// The connection is lost: nothing counts as sent.
    pub(super) fn put_all_back(&mut self) {
        for post in &mut self.waiting {
            post.sent_as = None;
        }
    }
}
