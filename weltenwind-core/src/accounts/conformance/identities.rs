use tokio::task::JoinSet;

use super::{Ports, account, name, session, step, step_with_key};
use crate::accounts::{AccountKind, ExternalSignIn, Issuer, SignedIn, Subject};

/// Whoever comes back is who was there before, with the name of before.
pub async fn an_identity_leads_to_one_account_for_good(ports: &Ports) {
    let first = enter(ports, &sign_in(1, "issuer", "subject")).await;
    let again = enter(ports, &sign_in(2, "issuer", "subject")).await;

    assert_eq!((first.account.id, first.account.kind), (account(1), AccountKind::Registered));
    assert_eq!((&first.account.username, &first.account.display_name), (&None, &name("Player")));
    assert_eq!(again.account, first.account);
    assert_ne!(again.session.id, first.session.id);
    assert_eq!(ports.accounts.find(account(2)).await.expect("the store works"), None);
    assert_eq!(ports.accounts.password(account(1)).await.expect("the store works"), None);
}

/// Two issuers may know two people by one number, and one issuer tells letters apart.
pub async fn an_issuer_and_a_subject_together_are_an_identity(ports: &Ports) {
    let identities = [("issuer", "7"), ("other", "7"), ("issuer", "8"), ("issuer", "A"), ("issuer", "a")];

    for (n, (issuer, subject)) in (1..).zip(identities) {
        assert_eq!(enter(ports, &sign_in(n, issuer, subject)).await.account.id, account(n), "{issuer} {subject}");
    }
}

/// A player with two tabs is one player.
pub async fn first_sign_ins_of_one_identity_at_once_make_one_account(ports: &Ports) {
    let mut sign_ins = JoinSet::new();
    for n in 1..=16 {
        let ports = ports.clone();
        sign_ins.spawn(async move { enter(&ports, &sign_in(n, "issuer", "subject")).await });
    }

    let signed_in = sign_ins.join_all().await;

    let winner = signed_in[0].account.id;
    assert!(signed_in.iter().all(|one| one.account.id == winner));
    for n in 1..=16 {
        let found = ports.accounts.find(account(n)).await.expect("the store works");
        assert_eq!(found.is_some(), account(n) == winner, "nobody else was made");
    }
}

/// A sign-in whose answer got lost opens one session.
pub async fn a_repeated_effect_key_signs_an_identity_in_once(ports: &Ports) {
    let first = ports.accounts.sign_in_external(&step_with_key(0, 1), &sign_in(1, "issuer", "subject")).await;
    let again = ports.accounts.sign_in_external(&step_with_key(0, 1), &sign_in(2, "issuer", "subject")).await;

    assert_eq!(again.expect("the store works"), first.expect("the store works"));
}

fn sign_in(n: u32, issuer: &str, subject: &str) -> ExternalSignIn {
    ExternalSignIn {
        issuer: Issuer::new(issuer).expect("an issuer"),
        subject: Subject::new(subject).expect("a subject"),
        account: account(n),
        display_name: name("Player"),
        session: session(n),
    }
}

async fn enter(ports: &Ports, sign_in: &ExternalSignIn) -> SignedIn {
    ports.accounts.sign_in_external(&step(0), sign_in).await.expect("the store works")
}
