//! What measures the layers: every stage of it answers.

mod fixture;

use weltenwind_http::{HttpConfig, bench::Onion};

use self::fixture::Server;

#[tokio::test]
async fn a_read_passes_whatever_lies_around_it() {
    let server = Server::start().await;
    let guest = server.guest("Mira").await;

    let onions = Onion::all(server.services.clone(), &HttpConfig::default(), &guest.token);

    assert!(onions.len() > 8, "the route, who asks, and the layers");
    for onion in &onions {
        // Panics unless it is answered 200.
        onion.ask().await;
    }
}
