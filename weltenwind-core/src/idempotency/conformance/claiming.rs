use tokio::task::JoinSet;
use uuid::Uuid;

use super::{DAY, Ports, answer, at, brief, new};
use crate::idempotency::{Claim, Claimed, NewClaim, Release, StoredAnswer};

/// Who repeats while the first runs is told so, for as long as the lease lasts.
pub async fn a_fresh_key_is_claimed_once(ports: &Ports) {
    let new_one = new(1, 0);
    let claim = ports.claim(&new_one).await;

    assert_eq!(claim, Claim { key: new_one.key, holder: new_one.holder, since: at(0) });
    assert_eq!(ports.ask(&new(1, 0)).await, Claimed::Running);
    assert_eq!(ports.ask(&new(1, 59)).await, Claimed::Running);
}

/// Fifty copies of one request, which a client without patience may send.
pub async fn claims_at_once_let_one_pass(ports: &Ports) {
    let mut copies = JoinSet::new();
    for n in 0..50 {
        let ports = ports.clone();
        copies.spawn(async move { ports.ask(&NewClaim { holder: Uuid::from_u128(n), ..new(1, 0) }).await });
    }

    let answers = copies.join_all().await;

    let fresh = answers.iter().filter(|answer| matches!(answer, Claimed::Fresh(_))).count();
    let running = answers.iter().filter(|answer| matches!(answer, Claimed::Running)).count();
    assert_eq!((fresh, running), (1, 49));
}

/// One key says nothing of another.
pub async fn keys_are_claimed_each_on_its_own(ports: &Ports) {
    let first = ports.claim(&new(1, 0)).await;
    let second = ports.claim(&new(2, 0)).await;

    assert!(ports.complete(&first, &answer("first")).await);

    assert_eq!(ports.ask(&new(1, 1)).await, Claimed::Answered(answer("first")));
    assert_eq!(ports.ask(&new(2, 1)).await, Claimed::Running);
    assert!(ports.complete(&second, &answer("second")).await);
    assert_eq!(ports.ask(&new(2, 2)).await, Claimed::Answered(answer("second")));
}

/// However often, and long after the lease.
pub async fn an_answer_is_given_to_every_repeat(ports: &Ports) {
    let claim = ports.claim(&brief(1, 0)).await;
    assert!(ports.complete(&claim, &answer("made")).await);

    for seconds in [0, 1, 3600, DAY - 1] {
        assert_eq!(ports.ask(&new(1, seconds)).await, Claimed::Answered(answer("made")), "after {seconds} s");
    }
}

/// A refusal has neither address nor state, and bytes are bytes.
pub async fn an_answer_without_headers_reads_back_as_it_was(ports: &Ports) {
    let bare = StoredAnswer {
        status: 404,
        location: None,
        etag: None,
        content_type: None,
        resource: None,
        body: vec![0, 255, 10, 0],
    };
    let empty = StoredAnswer { status: 204, body: Vec::new(), ..bare.clone() };
    let (first, second) = (ports.claim(&new(1, 0)).await, ports.claim(&new(2, 0)).await);

    assert!(ports.complete(&first, &bare).await && ports.complete(&second, &empty).await);

    assert_eq!(ports.ask(&new(1, 1)).await, Claimed::Answered(bare));
    assert_eq!(ports.ask(&new(2, 1)).await, Claimed::Answered(empty));
}

/// While the first runs, after its lease, and once it is answered.
pub async fn another_request_under_the_same_key_is_told(ports: &Ports) {
    let other = |seconds| NewClaim { fingerprint: [9; 32], ..new(1, seconds) };
    ports.claim(&brief(1, 0)).await;
    assert_eq!(ports.ask(&other(1)).await, Claimed::OtherRequest);

    let claim = ports.claim(&new(1, 2)).await;
    assert_eq!(ports.ask(&other(3)).await, Claimed::OtherRequest);

    assert!(ports.complete(&claim, &answer("made")).await);
    assert_eq!(ports.ask(&other(4)).await, Claimed::OtherRequest);
    assert_eq!(ports.ask(&new(1, 5)).await, Claimed::Answered(answer("made")));
}

/// The node died: the next attempt is the same request, with the same effect key.
pub async fn a_claim_whose_lease_has_ended_is_taken_over_and_keeps_its_beginning(ports: &Ports) {
    let dead = ports.claim(&brief(1, 0)).await;

    let next = ports.claim(&new(1, 60)).await;

    assert_eq!((next.since, next.holder), (at(0), new(1, 60).holder));
    assert_eq!(next.effect_key(), dead.effect_key());
    assert_eq!(ports.ask(&new(1, 61)).await, Claimed::Running);
}

/// Two retries arrive together when the lease has ended.
pub async fn two_who_take_over_at_once_let_one_pass(ports: &Ports) {
    ports.claim(&brief(1, 0)).await;
    let (one, two) = (new(1, 60), NewClaim { holder: Uuid::from_u128(2), ..new(1, 60) });

    let answers = tokio::join!(ports.ask(&one), ports.ask(&two));

    let answers = [answers.0, answers.1];
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Claimed::Fresh(_))).count(), 1, "{answers:?}");
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Claimed::Running)).count(), 1, "{answers:?}");
}

/// An attempt that was held up for longer than its lease comes back.
pub async fn who_lost_its_claim_neither_answers_nor_releases(ports: &Ports) {
    let slow = ports.claim(&brief(1, 0)).await;
    let present = ports.claim(&new(1, 60)).await;

    assert!(!ports.complete(&slow, &answer("late")).await);
    ports.release(&slow, Release::Forgotten).await;
    ports.release(&slow, Release::Bound).await;

    assert_eq!(ports.ask(&new(1, 61)).await, Claimed::Running);
    assert!(ports.complete(&present, &answer("made")).await);
    assert_eq!(ports.ask(&new(1, 62)).await, Claimed::Answered(answer("made")));
}

/// What was answered stays answered.
pub async fn an_answer_is_kept_once(ports: &Ports) {
    let claim = ports.claim(&new(1, 0)).await;
    assert!(ports.complete(&claim, &answer("first")).await);

    assert!(!ports.complete(&claim, &answer("second")).await);
    ports.release(&claim, Release::Forgotten).await;
    ports.release(&claim, Release::Bound).await;

    assert_eq!(ports.ask(&new(1, 1)).await, Claimed::Answered(answer("first")));
}
