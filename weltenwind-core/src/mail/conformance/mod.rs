//! What every [`MailStore`] must do: plain functions, each named as the sentence it proves.
//!
//! [`mail_store_conformance!`](crate::mail_store_conformance) makes a test of each.

use std::sync::Arc;

use super::{
    letter::{Letter, MailLocale},
    model::{Begun, MailIntent, MailState, NewMail, Settled},
    port::MailStore,
};
use crate::{
    accounts::{
        Email,
        conformance::{at, id, step, step_with_key},
    },
    dedupe::DedupeKey,
    ids::MailId,
};

/// The port under test.
#[derive(Debug, Clone)]
pub struct Ports {
    /// Letters.
    pub mail: Arc<dyn MailStore>,
}

/// Makes a test of every case of [`conformance`](crate::mail::conformance).
///
/// The fixture is a future of a guard and of [`Ports`] on which nothing was done before; the guard is dropped after the
/// case. It runs on tokio with the features `macros` and `rt-multi-thread`.
#[macro_export]
macro_rules! mail_store_conformance {
    ($fixture:expr $(, ignore = $reason:literal)?) => {
        $crate::mail_store_conformance! { @tests $fixture, [$(#[ignore = $reason])?],
            a_letter_reads_back_as_it_was_written_down
            one_key_writes_one_letter_down
            one_key_at_once_writes_one_letter_down
            a_letter_is_begun_before_it_is_sent
            a_deferred_letter_is_begun_again
            a_letter_that_somebody_died_over_is_not_sent_again
            a_resendable_letter_is_sent_again_once
            an_attempt_is_settled_once
            old_letters_are_deleted
        }
    };
    (@tests $fixture:expr, $attributes:tt, $($case:ident)+) => {
        $($crate::mail_store_conformance! { @test $fixture, $attributes, $case })+
    };
    (@test $fixture:expr, [$($attribute:tt)*], $case:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        $($attribute)*
        async fn $case() {
            let (_guard, ports) = $fixture.await;
            $crate::mail::conformance::$case(&ports).await;
        }
    };
}

const fn mail_id(n: u32) -> MailId {
    MailId::new(id(n))
}

/// Letter `n`, which is not sent again.
fn notice(n: u32) -> NewMail {
    NewMail {
        id: mail_id(n),
        dedupe_key: DedupeKey::new(&format!("letter-{n}")).expect("a key"),
        account: None,
        to: Email::new("mira@example.org").expect("an address"),
        locale: MailLocale::De,
        letter: Letter::Notice { title: "Tore".to_owned(), body: "Sie sind offen, \"endlich\".".to_owned() },
    }
}

fn settled(n: u32, attempt: u32, state: MailState, error: Option<&str>) -> Settled {
    Settled { id: mail_id(n), attempt, state, error: error.map(str::to_owned) }
}

impl Ports {
    async fn queue(&self, new: &NewMail) -> MailIntent {
        self.mail.queue(&step(0), new).await.expect("the store works").intent
    }

    async fn begin(&self, n: u32, seconds: i64) -> Begun {
        self.mail.begin(mail_id(n), at(seconds)).await.expect("the store works")
    }

    async fn settle(&self, settled: &Settled, seconds: i64) {
        self.mail.settle(settled, at(seconds)).await.expect("the store works");
    }

    async fn state(&self, n: u32) -> (MailState, u32, Option<String>) {
        let found = self.mail.find(mail_id(n)).await.expect("the store works").expect("it was written down");
        (found.state, found.attempts, found.error)
    }
}

/// And waits.
pub async fn a_letter_reads_back_as_it_was_written_down(ports: &Ports) {
    let new = notice(1);
    let queued = ports.mail.queue(&step(0), &new).await.expect("the store works");

    let expected = MailIntent {
        id: new.id,
        dedupe_key: new.dedupe_key,
        to: new.to,
        locale: MailLocale::De,
        letter: new.letter,
        state: MailState::Queued,
        attempts: 0,
        error: None,
    };
    assert_eq!((queued.is_new, &queued.intent), (true, &expected));
    assert_eq!(ports.mail.find(mail_id(1)).await.expect("the store works"), Some(expected));
    assert_eq!(ports.mail.find(mail_id(2)).await.expect("the store works"), None);
    assert_eq!(ports.begin(2, 1).await, Begun::Gone);
}

/// In whatever state the first one is.
pub async fn one_key_writes_one_letter_down(ports: &Ports) {
    ports.queue(&notice(1)).await;
    ports.begin(1, 1).await;

    let same = NewMail { dedupe_key: notice(1).dedupe_key, ..notice(2) };
    let again = ports.mail.queue(&step(2), &same).await.expect("the store works");

    assert_eq!((again.is_new, again.intent.id, again.intent.state), (false, mail_id(1), MailState::Sending));
    assert_eq!(ports.mail.find(mail_id(2)).await.expect("the store works"), None);
    let first = ports.mail.queue(&step_with_key(2, 7), &notice(3)).await.expect("the store works");
    let repeat = ports.mail.queue(&step_with_key(3, 7), &notice(4)).await.expect("the store works");
    assert_eq!(repeat, first);
}

/// From two nodes.
pub async fn one_key_at_once_writes_one_letter_down(ports: &Ports) {
    let mut tasks = tokio::task::JoinSet::new();
    for n in 1..=8 {
        let (mail, new) = (Arc::clone(&ports.mail), NewMail { dedupe_key: notice(1).dedupe_key, ..notice(n) });
        tasks.spawn(async move { mail.queue(&step(0), &new).await.expect("the store works") });
    }

    let queued = tasks.join_all().await;

    assert_eq!(queued.iter().filter(|queued| queued.is_new).count(), 1);
    assert!(queued.iter().all(|other| other.intent.id == queued[0].intent.id));
}

/// Of two that begin it, one sends it.
pub async fn a_letter_is_begun_before_it_is_sent(ports: &Ports) {
    ports.queue(&notice(1)).await;

    let Begun::Send(intent) = ports.begin(1, 5).await else { panic!("it is queued") };

    assert_eq!((intent.state, intent.attempts), (MailState::Sending, 1));
    assert_eq!(ports.state(1).await, (MailState::Sending, 1, None));
    ports.settle(&settled(1, 1, MailState::Accepted, None), 6).await;
    assert_eq!(ports.begin(1, 7).await, Begun::Nothing(MailState::Accepted));
    assert_eq!(ports.state(1).await, (MailState::Accepted, 1, None));
}

/// As another attempt.
pub async fn a_deferred_letter_is_begun_again(ports: &Ports) {
    ports.queue(&notice(1)).await;
    ports.begin(1, 5).await;
    ports.settle(&settled(1, 1, MailState::Queued, Some("451 later")), 6).await;
    assert_eq!(ports.state(1).await, (MailState::Queued, 1, Some("451 later".to_owned())));

    let Begun::Send(intent) = ports.begin(1, 7).await else { panic!("it is queued") };

    assert_eq!((intent.attempts, intent.state), (2, MailState::Sending));
    ports.settle(&settled(1, 2, MailState::Failed, Some("550 no")), 8).await;
    assert_eq!(ports.begin(1, 9).await, Begun::Nothing(MailState::Failed));
}

/// It may have gone out.
pub async fn a_letter_that_somebody_died_over_is_not_sent_again(ports: &Ports) {
    ports.queue(&notice(1)).await;
    ports.begin(1, 5).await;

    assert_eq!(ports.begin(1, 60).await, Begun::Nothing(MailState::Unknown));
    assert_eq!(ports.begin(1, 61).await, Begun::Nothing(MailState::Unknown));

    assert_eq!(ports.state(1).await.0, MailState::Unknown);
    // Who was thought to be dead was slow, and knows.
    ports.settle(&settled(1, 1, MailState::Accepted, None), 62).await;
    assert_eq!(ports.state(1).await, (MailState::Accepted, 1, None));
}

/// And no third time.
pub async fn a_resendable_letter_is_sent_again_once(ports: &Ports) {
    ports.queue(&NewMail { letter: Letter::Test, ..notice(1) }).await;
    ports.begin(1, 5).await;

    let Begun::Send(again) = ports.begin(1, 60).await else { panic!("it may be sent again") };

    assert_eq!((again.attempts, again.state), (2, MailState::Sending));
    assert_eq!(ports.begin(1, 120).await, Begun::Nothing(MailState::Unknown));
}

/// By whoever made it, and not by one before.
pub async fn an_attempt_is_settled_once(ports: &Ports) {
    ports.queue(&notice(1)).await;
    ports.begin(1, 5).await;
    ports.settle(&settled(1, 1, MailState::Queued, Some("451 later")), 6).await;
    ports.begin(1, 7).await;

    ports.settle(&settled(1, 1, MailState::Failed, Some("too late")), 8).await;
    assert_eq!(ports.state(1).await.0, MailState::Sending);
    ports.settle(&settled(1, 2, MailState::Accepted, None), 9).await;
    ports.settle(&settled(1, 2, MailState::Failed, Some("changed its mind")), 10).await;

    assert_eq!(ports.state(1).await, (MailState::Accepted, 2, None));
}

/// What is still to be sent is none of them.
pub async fn old_letters_are_deleted(ports: &Ports) {
    for n in 1..=5 {
        ports.queue(&notice(n)).await;
    }
    for (n, seconds) in [(1, 10), (2, 11), (3, 20)] {
        ports.begin(n, 5).await;
        ports.settle(&settled(n, 1, MailState::Accepted, None), seconds).await;
    }
    ports.begin(4, 5).await;
    let purge = async |limit| ports.mail.purge(at(20), limit).await.expect("the store works");

    assert_eq!((purge(1).await, purge(5).await, purge(5).await), (1, 1, 0));

    for (n, is_there) in [(1, false), (2, false), (3, true), (4, true), (5, true)] {
        assert_eq!(ports.mail.find(mail_id(n)).await.expect("the store works").is_some(), is_there, "{n}");
    }
}
