use super::{Ports, at};
use crate::{
    accounts::{ServerKeys, SigningKey},
    secret::Secret,
};

/// The first start needs no setup.
pub async fn an_installation_without_keys_adopts_fresh_ones(ports: &Ports) {
    let fresh = keys(1);

    assert_eq!(adopt(ports, &fresh).await, fresh);
}

/// Tokens and cursors outlive a restart.
pub async fn an_installation_with_keys_keeps_them(ports: &Ports) {
    let first = adopt(ports, &keys(1)).await;

    assert_eq!(adopt(ports, &keys(2)).await, first);
}

/// The first one signs.
pub async fn signing_keys_are_answered_youngest_first(ports: &Ports) {
    let mut fresh = keys(1);
    fresh.signing = vec![key(1, 100), key(2, 300), key(3, 200)];

    let adopted = adopt(ports, &fresh).await;

    assert_eq!(adopted.signing, [key(2, 300), key(3, 200), key(1, 100)]);
}

/// Each node would refuse the other's tokens.
pub async fn two_nodes_that_start_at_once_get_the_same_keys(ports: &Ports) {
    let (one, two, three) = (keys(1), keys(2), keys(3));

    let answers = tokio::join!(adopt(ports, &one), adopt(ports, &two), adopt(ports, &three));

    assert!([one, two, three].contains(&answers.0));
    assert_eq!(answers.1, answers.0);
    assert_eq!(answers.2, answers.0);
    assert_eq!(adopt(ports, &keys(4)).await, answers.0);
}

fn keys(n: u8) -> ServerKeys {
    ServerKeys { signing: vec![key(n, 0)], root: Secret::new([n; 32]) }
}

fn key(n: u8, seconds: i64) -> SigningKey {
    SigningKey { id: format!("key-{n}"), pkcs8: Secret::new(vec![n; 83]), created_at: at(seconds) }
}

async fn adopt(ports: &Ports, fresh: &ServerKeys) -> ServerKeys {
    ports.keys.adopt(fresh).await.expect("the store works")
}
