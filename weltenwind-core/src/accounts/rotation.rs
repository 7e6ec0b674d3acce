//! Keys that take the place of others while nodes run.

use std::time::Duration;

use serde_json::json;

use super::{
    error::AccountError,
    keys::{KeyRotation, RootKey, ServerKeys, SigningKey},
    service::Accounts,
};
use crate::{
    actor::{Actor, Identity},
    clock::Timestamp,
    scope::Scope,
    step::AuditDraft,
};

/// How long after a look for an unknown key the next one may come.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// What tells one key from the next if the clock does not.
const TICK: Duration = Duration::from_micros(1);

/// How much a rotation may cost those who are signed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// Nothing: the new key signs once every node knows it, and the old one verifies until its tokens have run out.
    Routine,
    /// The signing keys are in foreign hands: all of them are deleted at once. Who is signed in trades a refresh token for
    /// an access token under the new key, and stays signed in.
    Compromised,
}

/// What a rotation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotated {
    /// These are the keys now.
    Done(Vec<KeyEntry>),
    /// Tokens under the key before the last may still hold; from this instant on none does.
    TooSoon(Timestamp),
}

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPurpose {
    /// It signs access tokens.
    Signing,
    /// Cursors, refresh tokens and hashes are derived from it.
    Root,
}

/// What a key does at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// Nothing yet: nodes are about to read it.
    Announced,
    /// It signs, or new things are derived from it.
    Used,
    /// What was made with it still holds.
    Former,
}

/// A key, as far as anybody needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEntry {
    /// What the store knows it by; of a signing key, the `kid` of its tokens.
    pub id: String,
    /// What it is for.
    pub purpose: KeyPurpose,
    /// What it does at present.
    pub state: KeyState,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Accounts {
    /// Lists the keys of the installation without their secrets, signing keys first, each kind youngest first. For the
    /// operator alone.
    pub async fn keys(&self, actor: &Actor) -> Result<Vec<KeyEntry>, AccountError> {
        require_operator(actor)?;
        let keys = self.inner.keys.read().await?;
        Ok(entries(&keys, self.inner.sources.clock.now()))
    }

    /// Makes another signing key and another root key, in one step. For the operator alone.
    ///
    /// Nothing is signed with or derived from them before they are [`RootKey::SETTLING`] old, when every node has read them:
    /// whoever runs nodes calls [`Accounts::reload_keys`] meanwhile. Of signing keys, two live: a routine rotation waits until
    /// no token under the key before the last can hold. Of root keys, all live, as [`Accounts::rotate_root`] says.
    pub async fn rotate_keys(&self, actor: &Actor, urgency: Urgency) -> Result<Rotated, AccountError> {
        require_operator(actor)?;
        let inner = &self.inner;
        let keys = inner.keys.read().await?;
        let now = inner.sources.clock.now();
        let youngest = keys.signing.first().expect("an installation has a signing key");
        let dropped: Vec<String> = match urgency {
            Urgency::Compromised => keys.signing.iter().map(|key| key.id.clone()).collect(),
            Urgency::Routine => {
                let former = &keys.signing[1..];
                let free_from = youngest.stands_alone_from(inner.config.access_token_life);
                if !former.is_empty() && now < free_from {
                    return Ok(Rotated::TooSoon(free_from));
                }
                former.iter().map(|key| key.id.clone()).collect()
            }
        };
        let made_at = now.max(youngest.created_at + TICK);
        let rotation = KeyRotation {
            follows: youngest.id.clone(),
            signing: inner.fresh_signing(made_at)?,
            root: inner.fresh_root(made_at),
            dropped,
        };
        let audit = AuditDraft::new("key.rotate", Scope::Global)
            .with(json!({ "signing": rotation.signing.id, "root": rotation.root.id, "dropped": rotation.dropped }));
        if !inner.keys.rotate(&actor.step(now, audit), &rotation).await? {
            // Somebody else was faster.
            return Ok(Rotated::TooSoon(rotation.signing.stands_alone_from(inner.config.access_token_life)));
        }
        self.reload_keys().await?;
        Ok(Rotated::Done(self.keys(actor).await?))
    }

    /// Deletes the signing keys whose tokens have all run out, and returns how many it were.
    pub async fn retire_keys(&self) -> Result<u64, AccountError> {
        let inner = &self.inner;
        let now = inner.sources.clock.now();
        let over = run_out(&inner.keys.read().await?.signing, inner.config.access_token_life, now);
        if over.is_empty() {
            return Ok(0);
        }
        let audit = AuditDraft::new("key.retire", Scope::Global).with(json!({ "dropped": over }));
        let dropped = inner.keys.drop_signing(&Actor::operator().step(now, audit), &over).await?;
        self.reload_keys().await?;
        Ok(dropped)
    }

    /// Reads the keys that other processes have made. Whoever runs nodes calls it every few seconds: that is how long a
    /// signing key that was deleted still holds elsewhere.
    pub async fn reload_keys(&self) -> Result<(), AccountError> {
        let keys = self.inner.keys.read().await?;
        self.inner.tokens.replace(&keys.signing)?;
        self.inner.ring.replace(keys.roots);
        Ok(())
    }

    /// Reads the keys because a token names an unknown one, unless that was done within the last second: made-up names cost
    /// no more than that.
    pub(super) async fn look_for_keys(&self, now: Timestamp) -> Result<(), AccountError> {
        let mut last = self.inner.keys_looked_for.lock().await;
        if last.is_some_and(|last| last <= now && now < last + LOOK_AGAIN) {
            return Ok(());
        }
        *last = Some(now);
        self.reload_keys().await
    }
}

fn require_operator(actor: &Actor) -> Result<(), AccountError> {
    if actor.identity == Identity::Operator { Ok(()) } else { Err(AccountError::SignInRequired) }
}

/// Returns the keys under which no token holds any more; they are given youngest first.
fn run_out(signing: &[SigningKey], token_life: Duration, now: Timestamp) -> Vec<String> {
    let alone = signing.iter().position(|key| key.stands_alone_from(token_life) <= now);
    let over = alone.map_or(&[][..], |alone| &signing[alone + 1..]);
    over.iter().map(|key| key.id.clone()).collect()
}

fn entries(keys: &ServerKeys, now: Timestamp) -> Vec<KeyEntry> {
    let signing: Vec<_> = keys.signing.iter().map(|key| (&key.id, key.created_at)).collect();
    let roots: Vec<_> = keys.roots.iter().map(|key| (&key.id, key.created_at)).collect();
    [(KeyPurpose::Signing, signing), (KeyPurpose::Root, roots)]
        .into_iter()
        .flat_map(|(purpose, keys)| {
            let settled = keys.iter().position(|(_, created_at)| *created_at + RootKey::SETTLING <= now);
            let used = settled.unwrap_or(keys.len() - 1);
            keys.into_iter().enumerate().map(move |(n, (id, created_at))| {
                let state = match n.cmp(&used) {
                    std::cmp::Ordering::Less => KeyState::Announced,
                    std::cmp::Ordering::Equal => KeyState::Used,
                    std::cmp::Ordering::Greater => KeyState::Former,
                };
                KeyEntry { id: id.clone(), purpose, state, created_at }
            })
        })
        .collect()
}
