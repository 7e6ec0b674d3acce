use std::time::Duration;

use super::{DAY, Ports, answer, at, brief, new};
use crate::{
    accounts::conformance::open_guest,
    chat::{NewChannel, NewMessage, Removal, RemovalMode},
    idempotency::{Claimed, NewClaim, Release, StoredAnswer},
    step::Step,
};

/// Who was turned away at the door has done nothing.
pub async fn a_forgotten_claim_leaves_its_key_free_for_anything(ports: &Ports) {
    let claim = ports.claim(&new(1, 0)).await;
    ports.release(&claim, Release::Forgotten).await;

    let next = ports.claim(&NewClaim { fingerprint: [9; 32], ..new(1, 1) }).await;

    assert_eq!(next.since, at(1));
    assert_ne!(next.effect_key(), claim.effect_key());
}

/// A request that failed may have had its effect, so only the same one may be run under its effect key.
pub async fn a_bound_claim_leaves_its_key_free_for_the_same_request_alone(ports: &Ports) {
    let claim = ports.claim(&new(1, 0)).await;
    ports.release(&claim, Release::Bound).await;

    assert_eq!(ports.ask(&NewClaim { fingerprint: [9; 32], ..new(1, 1) }).await, Claimed::OtherRequest);
    let next = ports.claim(&new(1, 2)).await;

    assert_eq!(next.since, at(0));
    assert_eq!(next.effect_key(), claim.effect_key());
}

/// To the second, whatever the key stood for and whether or not it was purged.
pub async fn a_key_is_free_after_a_day(ports: &Ports) {
    let (answered, running) = (ports.claim(&new(1, 0)).await, ports.claim(&new(2, 0)).await);
    assert!(ports.complete(&answered, &answer("made")).await);
    assert_eq!(ports.ask(&new(1, DAY - 1)).await, Claimed::Answered(answer("made")));

    let other = ports.claim(&NewClaim { fingerprint: [9; 32], ..new(1, DAY) }).await;
    let again = ports.claim(&new(2, DAY)).await;

    assert_eq!((other.since, again.since), (at(DAY), at(DAY)));
    assert_ne!(other.effect_key(), answered.effect_key());
    assert!(!ports.complete(&running, &answer("late")).await);
    assert_eq!(ports.ask(&NewClaim { fingerprint: [9; 32], ..new(1, DAY + 1) }).await, Claimed::Running);
}

/// The beginning is read back from the store by whoever takes over, and must then be what it was at first.
pub async fn what_is_finer_than_a_microsecond_is_cut_off(ports: &Ports) {
    let fine = at(0) + Duration::from_nanos(1_234_567);
    let first = ports.claim(&NewClaim { at: fine, ..brief(1, 0) }).await;

    let next = ports.claim(&new(1, 60)).await;

    assert_eq!(first.since, at(0) + Duration::from_micros(1234));
    assert_eq!(next.since, first.since);
}

/// A moderator destroys a text; its author's retry shows the tombstone. What is only hidden stays in its author's answers.
pub async fn what_is_purged_is_purged_from_answers_too(ports: &Ports) {
    ports.chat.create_channel(&Step::sample(at(0)), &NewChannel::sample(1)).await.expect("the channel is new");
    let messages = [NewMessage::sample("well met"), NewMessage::sample("fare well")];
    ports.chat.append(&messages).await.expect("the messages are written");
    let shows = |n: usize| StoredAnswer { resource: Some(messages[n].id.uuid()), ..answer("a text") };
    for (key, n) in [(1, 0), (2, 0), (3, 1)] {
        let claim = ports.claim(&new(key, 0)).await;
        assert!(ports.complete(&claim, &shows(n)).await);
    }
    let remove = async |n: usize, mode| {
        let removal = Removal { message: messages[n].id, reason: "insult".to_owned(), mode };
        ports.chat.remove(&Step::sample(at(5)), &removal).await.expect("the message exists");
    };

    remove(0, RemovalMode::Mask).await;
    assert_eq!(ports.ask(&new(1, 9)).await, Claimed::Answered(shows(0)));
    remove(0, RemovalMode::Purge).await;

    assert_eq!(ports.claim(&new(1, 10)).await.since, at(0));
    assert_eq!(ports.claim(&new(2, 10)).await.since, at(0));
    assert_eq!(ports.ask(&new(3, 10)).await, Claimed::Answered(shows(1)));
}

/// What is purged is as if it had never been; what is not still counts.
pub async fn old_keys_and_effects_are_purged_and_young_ones_stay(ports: &Ports) {
    let old = ports.claim(&new(1, 0)).await;
    assert!(ports.complete(&old, &answer("old")).await);
    let young = ports.claim(&new(2, 10)).await;
    assert!(ports.complete(&young, &answer("young")).await);
    let (first, second) = (ports.effect(0, 1, 1).await, ports.effect(10, 2, 2).await);

    assert_eq!(ports.purge(at(10), 500).await, 2);
    assert_eq!(ports.purge(at(10), 500).await, 0);

    assert_eq!(ports.claim(&new(1, 20)).await.since, at(20));
    assert_eq!(ports.ask(&new(2, 20)).await, Claimed::Answered(answer("young")));
    assert_ne!(ports.effect(20, 1, 3).await, first);
    assert_eq!(ports.effect(20, 2, 4).await, second);
}

/// Short statements, the oldest first.
pub async fn a_purge_ends_at_its_limit(ports: &Ports) {
    for n in 1..=5 {
        ports.claim(&new(n, n.into())).await;
    }
    open_guest(&*ports.accounts, 1).await;

    assert_eq!(ports.purge(at(100), 2).await, 2);
    assert_eq!(ports.ask(&new(3, 30)).await, Claimed::Running);
    assert_eq!(ports.claim(&new(1, 30)).await.since, at(30));
    assert_eq!([ports.purge(at(20), 2).await, ports.purge(at(20), 2).await, ports.purge(at(20), 2).await], [2, 1, 0]);
}
