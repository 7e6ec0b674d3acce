//! An export, written piece by piece.

use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::{
    error::PrivacyError,
    model::{AuditQuery, Holdings},
    service::Inner,
};
use crate::{
    chat::{Written, WrittenQuery},
    ids::AccountId,
    wire::{ExportBody, ExportedAudit, ExportedMessage},
};

/// Rows of the audit log that are read at once.
const AUDIT_PAGE: u32 = 500;
/// Places of messages that are looked up at once.
const PLACES: u32 = 5000;
/// Messages that are read at once: 2000 characters each at most.
const MESSAGES: usize = 200;

/// Everything that is held on an account, as the text of one JSON document: [`ExportBody`].
///
/// Pieces are read from the store as they are asked for.
#[derive(Debug)]
pub struct Export {
    inner: Arc<Inner>,
    account: AccountId,
    targets: Vec<String>,
    state: [u8; 32],
    next: Next,
    /// What has been read of the list under way, and is not written yet.
    places: Vec<Written>,
    /// Whether the list under way has an item.
    has_items: bool,
}

/// What is written next.
#[derive(Debug)]
enum Next {
    Head(Vec<u8>),
    Audit { after: i64 },
    Messages(WrittenQuery),
    Nothing,
}

impl Export {
    pub(super) async fn begin(inner: Arc<Inner>, holdings: &Holdings) -> Result<Self, PrivacyError> {
        const LISTS: &str = "[],\"messages\":[]}";

        let account = holdings.account.id;
        let body = ExportBody::of(holdings, inner.sources.clock.now());
        let mut head = serde_json::to_string(&body).expect("bodies are plain data");
        // What follows is written in place of the last two lists, which are empty so far.
        assert!(head.ends_with(LISTS), "the lists that are read page by page come last");
        head.truncate(head.len() - LISTS.len() + 1);
        let mut export = Self {
            inner,
            account,
            targets: targets(holdings),
            state: [0; 32],
            next: Next::Head(head.into_bytes()),
            places: Vec::new(),
            has_items: false,
        };
        export.state = export.read_state(&body).await?;
        Ok(export)
    }

    /// Returns a digest of what is held: it is another one when something has changed, whenever it is asked for.
    pub const fn state(&self) -> &[u8; 32] {
        &self.state
    }

    /// Returns the next piece of the document; none behind the last.
    ///
    /// # Errors
    ///
    /// That of the store: the document is then of no use.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, PrivacyError> {
        match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::Head(head) => {
                self.next = Next::Audit { after: 0 };
                Ok(Some(head))
            }
            Next::Audit { after } => self.next_audit(after).await.map(Some),
            Next::Messages(query) => self.next_messages(query).await.map(Some),
            Next::Nothing => Ok(None),
        }
    }

    async fn next_audit(&mut self, after: i64) -> Result<Vec<u8>, PrivacyError> {
        let entries = self.inner.store.audit(&self.audit_query(after)).await?;
        let mut piece = Vec::new();
        for entry in &entries {
            self.push(&mut piece, &ExportedAudit::of(entry, self.account));
        }
        if let Some(last) = entries.last() {
            self.next = Next::Audit { after: last.id };
        } else {
            piece.extend_from_slice(b"],\"messages\":[");
            self.has_items = false;
            self.next = Next::Messages(self.messages_query());
        }
        Ok(piece)
    }

    async fn next_messages(&mut self, mut query: WrittenQuery) -> Result<Vec<u8>, PrivacyError> {
        if self.places.is_empty() {
            self.places = self.inner.chat.written(&query).await?;
            query.after = self.places.last().map(|last| (last.channel, last.seq));
        }
        if self.places.is_empty() {
            return Ok(b"]}".to_vec());
        }
        let rest = self.places.split_off(self.places.len().min(MESSAGES));
        let now = std::mem::replace(&mut self.places, rest);
        let mut piece = Vec::new();
        for message in self.inner.chat.read_written(&now).await? {
            self.push(&mut piece, &ExportedMessage::from(&message));
        }
        self.next = Next::Messages(query);
        Ok(piece)
    }

    /// Writes an item of the list under way.
    fn push(&mut self, piece: &mut Vec<u8>, item: &impl serde::Serialize) {
        if std::mem::replace(&mut self.has_items, true) {
            piece.push(b',');
        }
        serde_json::to_writer(piece, item).expect("bodies are plain data");
    }

    /// Reads in which state everything is, without reading what is in it.
    async fn read_state(&self, body: &ExportBody) -> Result<[u8; 32], PrivacyError> {
        let mut digest = Sha256::new();
        digest.update(serde_json::to_vec(&body.without_time()).expect("bodies are plain data"));
        let mut after = 0;
        loop {
            let entries = self.inner.store.audit(&self.audit_query(after)).await?;
            let Some(last) = entries.last() else { break };
            after = last.id;
            for entry in &entries {
                digest.update(entry.id.to_be_bytes());
            }
        }
        digest.update([0; 8]);
        let mut query = self.messages_query();
        loop {
            let places = self.inner.chat.written(&query).await?;
            let Some(last) = places.last() else { break };
            query.after = Some((last.channel, last.seq));
            for Written { channel, seq, change } in &places {
                digest.update(channel.uuid().as_bytes());
                digest.update(seq.get().to_be_bytes());
                digest.update(change.get().to_be_bytes());
            }
        }
        Ok(digest.finalize().into())
    }

    fn audit_query(&self, after: i64) -> AuditQuery {
        AuditQuery { account: self.account, targets: self.targets.clone(), after, limit: AUDIT_PAGE }
    }

    const fn messages_query(&self) -> WrittenQuery {
        WrittenQuery { author: self.account, besides: None, after: None, limit: PLACES }
    }
}

/// Returns what the audit log calls the account and what belongs to it.
fn targets(holdings: &Holdings) -> Vec<String> {
    let Holdings { account, sessions, devices, grants, .. } = holdings;
    let mut targets = vec![account.id.to_string()];
    targets.extend(sessions.iter().map(|session| session.id.to_string()));
    targets.extend(devices.iter().map(|held| held.device.id.to_string()));
    targets.extend(grants.iter().map(|held| held.grant.id.to_string()));
    targets
}
