use super::{Ports, account, open_guest, step, step_with_key};
use crate::{
    accounts::{
        AccountError, LocaleTag, Preferences, PreferencesAmendment, PreferencesChange, QuietHours, Theme, Topic,
    },
    page::Revision,
};

/// Nothing has to be written before something can be read.
pub async fn preferences_that_were_never_said_are_the_defaults(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;

    assert_eq!(find(ports).await, Preferences::default());
}

/// Everything reads back, and goes back to nothing.
pub async fn preferences_read_back_as_they_were_said(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    let said = ports.preferences.amend(&step(1), &change(Some(1), night())).await.expect("they are new");

    assert_eq!(said, Preferences::default().amended(&night()));
    assert_eq!(find(ports).await, said);

    let clearing =
        PreferencesAmendment { locale: Some(None), quiet_hours: Some(None), ..PreferencesAmendment::default() };
    let cleared = ports.preferences.amend(&step(2), &change(Some(2), clearing)).await.expect("the revision is right");
    assert_eq!((cleared.locale.as_ref(), cleared.quiet_hours.as_ref(), cleared.theme), (None, None, Theme::Dark));
    assert_eq!((cleared.muted.len(), cleared.revision.get()), (2, 3));
    assert_eq!(find(ports).await, cleared);
}

/// Two devices: the one that has not seen the other's change is told.
pub async fn stale_preferences_are_not_changed(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    let said = ports.preferences.amend(&step(1), &change(None, night())).await.expect("any revision");

    let stale = ports.preferences.amend(&step(2), &change(Some(1), PreferencesAmendment::default())).await;
    let mut of_nobody = change(None, night());
    of_nobody.account = account(9);
    let nobody = ports.preferences.amend(&step(2), &of_nobody).await;

    assert!(matches!(stale, Err(AccountError::Stale(present)) if present == said.revision), "{stale:?}");
    assert!(matches!(nobody, Err(AccountError::NotFound)), "{nobody:?}");
    assert_eq!(find(ports).await, said);
}

/// Also where there was nothing to lock.
pub async fn two_changes_of_one_revision_at_once_let_one_pass(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;
    for revision in [1, 2] {
        let (one, two) = (change(Some(revision), night()), change(Some(revision), PreferencesAmendment::default()));
        let (first, second) = (step(9), step(9));
        let answers = tokio::join!(ports.preferences.amend(&first, &one), ports.preferences.amend(&second, &two));

        let answers = [answers.0, answers.1];
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1, "{answers:?}");
        assert!(answers.iter().any(|answer| matches!(answer, Err(AccountError::Stale(_)))), "{answers:?}");
        assert_eq!(find(ports).await.revision, Revision::new(revision + 1));
    }
}

/// The answer got lost, and its caller asks again.
pub async fn a_repeated_effect_key_changes_preferences_once(ports: &Ports) {
    open_guest(&*ports.accounts, 1).await;

    let first = ports.preferences.amend(&step_with_key(1, 1), &change(Some(1), night())).await.expect("it is new");
    let again = ports.preferences.amend(&step_with_key(1, 1), &change(Some(1), night())).await.expect("a repeat");

    assert_eq!(first, again);
}

fn night() -> PreferencesAmendment {
    PreferencesAmendment {
        locale: Some(Some(LocaleTag::new("de-AT").expect("a tag"))),
        theme: Some(Theme::Dark),
        notifications: vec![(Topic::Chat, false), (Topic::Moderation, false), (Topic::Invite, true)],
        quiet_hours: Some(Some(QuietHours::new("22:30", "07:00", "Europe/Vienna").expect("hours"))),
    }
}

fn change(expected: Option<i64>, amendment: PreferencesAmendment) -> PreferencesChange {
    PreferencesChange { account: account(1), expected: expected.map(Revision::new), amendment }
}

async fn find(ports: &Ports) -> Preferences {
    ports.preferences.find(account(1)).await.expect("the store works")
}
