//! One's own account against a real server: a second factor, and preferences.

mod support;

use support::Town;
use totp_rs::{Builder, Secret};
use weltenwind_client::{ClientError, Credentials, PreferencesAmendment, Registration, Theme};
use weltenwind_core::{Clock as _, SystemClock};

fn code_of(error: &ClientError) -> Option<&str> {
    error.refusal().map(|refusal| refusal.code.as_str())
}

#[tokio::test]
async fn a_second_factor_is_enabled_asked_for_and_given_up() {
    let town = Town::start().await;
    let client = town.client();
    client.register(&Registration::new("mira", "a lantern on the pier")).await.unwrap();
    let begun = client.begin_two_factor().await.unwrap();
    let authenticator = Builder::new().with_secret(Secret::try_from_base32(&begun.secret).unwrap()).build().unwrap();
    let now = u64::try_from(SystemClock.now().as_second()).unwrap();

    let confirmed = client.confirm_two_factor(&authenticator.generate(now).to_string()).await.unwrap();

    assert_eq!(confirmed.recovery_codes.len(), 10);
    assert!(!format!("{begun:?}{confirmed:?}").contains(&begun.secret));
    assert_eq!(client.me().await.unwrap().username.as_deref(), Some("mira"), "it goes on with the new session");
    let (other, credentials) = (town.client(), Credentials::new("mira", "a lantern on the pier"));
    let asked = other.login(&credentials).await.unwrap_err();
    assert_eq!(code_of(&asked), Some("two-factor-required"));
    other.login(&credentials.clone().totp(&confirmed.recovery_codes[0])).await.unwrap();
    let wrong = client.disable_two_factor(&confirmed.recovery_codes[0]).await.unwrap_err();
    assert_eq!(code_of(&wrong), Some("two-factor-code-invalid"));
    client.disable_two_factor(&confirmed.recovery_codes[1]).await.unwrap();
    client.me().await.unwrap();
    town.client().login(&credentials).await.unwrap();
}

#[tokio::test]
async fn preferences_are_changed_in_the_state_that_was_seen() {
    let town = Town::start().await;
    let client = town.guest("Mira").await;
    let first = client.preferences().await.unwrap();
    let dark = PreferencesAmendment::default().theme(Theme::Dark).locale(Some("de-at".to_owned()));

    let changed = client.amend_preferences(&first, &dark).await.unwrap();
    let stale =
        client.amend_preferences(&first, &PreferencesAmendment::default().theme(Theme::Light)).await.unwrap_err();

    assert_eq!((first.value.theme, changed.value.locale.as_deref()), (Theme::System, Some("de-AT")));
    assert_eq!(code_of(&stale), Some("precondition-failed"));
    assert_eq!(client.preferences().await.unwrap().value, changed.value);
    let known = client.preferences().await.unwrap();
    client.amend_preferences(&known, &PreferencesAmendment::default().locale(None)).await.unwrap();
    assert_eq!(client.preferences().await.unwrap().value.locale, None);
}
