//! How a batch of messages is judged, and answered.

mod pause;
#[cfg(feature = "postgres")]
pub(super) mod postgres;
#[cfg(feature = "sqlite")]
pub(super) mod sqlite;

use weltenwind_core::{
    Timestamp,
    chat::{Appended, Change, Message, NewMessage, Refusal, Seq},
};

/// What became of one message of a batch.
#[derive(Debug)]
enum Verdict {
    /// It was written under these numbers.
    Written(Seq, Change),
    /// Its client id is stored already, with the same message.
    Known(Box<Message>),
    /// The batch's message of this index was written under the same client id.
    Follows(usize),
    /// Its client id was used for another message.
    ClientIdReused,
    /// It was not written.
    Refused(Refusal),
}

/// Answers each message of a batch.
fn answers(batch: &[NewMessage], verdicts: impl IntoIterator<Item = Verdict>) -> Vec<Appended> {
    let mut answers: Vec<Appended> = Vec::with_capacity(batch.len());
    for (new, verdict) in batch.iter().zip(verdicts) {
        answers.push(match verdict {
            Verdict::Written(seq, change) => Ok(written(new, seq, change)),
            Verdict::Known(message) => Ok(*message),
            Verdict::Follows(first) if batch[first].fingerprint() == new.fingerprint() => answers[first].clone(),
            Verdict::Follows(_) | Verdict::ClientIdReused => Err(reused(new)),
            Verdict::Refused(refusal) => Err(refusal),
        });
    }
    answers
}

fn reused(new: &NewMessage) -> Refusal {
    Refusal::ClientIdReused(new.client_id.clone().expect("only a client id can be reused"))
}

/// The message as a read of its row would answer it.
fn written(new: &NewMessage, seq: Seq, change: Change) -> Message {
    let NewMessage { id, channel, author, body, client_id, reply_to, sent_at, pause: _ } = new.clone();
    Message {
        id,
        channel,
        seq,
        posted_change: change,
        change,
        author,
        body: Some(body),
        client_id,
        reply_to,
        sent_at: whole_microseconds(sent_at),
        edited_at: None,
        tombstone: None,
    }
}

/// What both databases keep of an instant.
fn whole_microseconds(at: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(at.as_microsecond()).expect("an instant in whole microseconds stays in range")
}
