//! Who asks, and under which id.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{ConnectInfo, Request, State},
    middleware::Next,
    response::Response,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use weltenwind_core::{ClientAddress, CorrelationId};

use super::Edge;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Gives the request its id and the caller's address; the id is told in the answer.
///
/// A program that embeds the host may have put either into the request's extensions; then it stands.
pub(super) async fn identify(State(edge): State<Arc<Edge>>, mut request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip().to_canonical());
    let proxies = edge.config.trusted_proxies.as_slice();
    let is_proxied = peer.is_some_and(|peer| trusts(proxies, peer));
    let id = request.extensions().get::<CorrelationId>().cloned().unwrap_or_else(|| {
        let given = request.headers().get(REQUEST_ID).filter(|_| is_proxied).and_then(|id| id.to_str().ok());
        given.and_then(CorrelationId::accept).unwrap_or_else(|| CorrelationId::draw(&*edge.ids))
    });
    // Where the peer is not known nothing is made up: everybody would pass for one caller.
    if request.extensions().get::<ClientAddress>().is_none()
        && let Some(peer) = peer
    {
        let address = client(proxies, peer, request.headers());
        request.extensions_mut().insert(ClientAddress(address));
    }
    request.extensions_mut().insert(id.clone());
    let mut response = next.run(request).await;
    let id = HeaderValue::from_str(id.as_str()).expect("an id is visible ASCII");
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

fn trusts(proxies: &[IpNet], address: IpAddr) -> bool {
    proxies.iter().any(|network| network.contains(&address))
}

/// Walks the chain of proxies from the near end: each trusted one is believed about the one before it, and the first that
/// is not trusted is the client. Whatever stands left of it, the client may have written itself.
fn client(proxies: &[IpNet], peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let hops: Vec<&str> = headers
        .get_all(FORWARDED_FOR)
        .iter()
        .flat_map(|list| list.to_str().unwrap_or_default().split(','))
        .map(str::trim)
        .collect();
    let mut client = peer;
    for hop in hops.into_iter().rev() {
        if !trusts(proxies, client) {
            break;
        }
        let Some(address) = address(hop) else { break };
        client = address;
    }
    client
}

/// Some proxies write the port too.
fn address(hop: &str) -> Option<IpAddr> {
    let address = hop.parse().or_else(|_| hop.parse::<SocketAddr>().map(|socket| socket.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_most_address_that_is_no_proxy_is_the_client() {
        let proxies: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
        for (peer, forwarded, expected) in [
            ("203.0.113.7", "198.51.100.1", "203.0.113.7"),
            ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
            ("10.0.0.1", "192.0.2.66, 198.51.100.1", "198.51.100.1"),
            ("10.0.0.1", "198.51.100.1, 10.9.9.9", "198.51.100.1"),
            ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
            ("::1", "[2001:db8::7]:443", "2001:db8::7"),
            ("10.0.0.1", "unknown", "10.0.0.1"),
            ("10.0.0.1", "", "10.0.0.1"),
        ] {
            let headers = HeaderMap::from_iter([(FORWARDED_FOR, HeaderValue::from_str(forwarded).unwrap())]);
            let client = client(&proxies, peer.parse().unwrap(), &headers);
            assert_eq!(client, expected.parse::<IpAddr>().unwrap(), "{peer} for {forwarded}");
        }
    }
}
