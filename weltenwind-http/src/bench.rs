//! What the layers cost, one by one: for `weltenwind bench layers` and for whoever changes one.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    middleware,
    routing::get,
};
use http::{Request, StatusCode, header};
use prometheus::Registry;
use serde_json::json;
use tower::ServiceExt as _;
use weltenwind_core::{CorrelationId, Services};

use crate::{
    answer::{self, Answer},
    config::HttpConfig,
    context::{App, Context},
    layers::{self, Edge, Log},
};

const PATH: &str = "/api/v1/bench";

/// A router with so many of the layers around one trivial read.
#[derive(Debug)]
pub struct Onion {
    /// The layer that was put on last, and whatever lies within.
    pub outermost: &'static str,
    router: Router,
    token: String,
    /// What the layer that gives a request its id would give, where that layer is not there yet.
    id: Option<CorrelationId>,
}

impl Onion {
    /// Makes one onion for each layer, the innermost first; reads are asked with `token`.
    pub fn all(services: Services, config: &HttpConfig, token: &str) -> Vec<Self> {
        let (quotas, id) = (services.limits.clone(), CorrelationId::draw(&*services.sources.ids));
        let edge = Edge::new(&services.sources, config.clone(), &Registry::new(), Log::EveryRequest);
        let app = App { services: Arc::new(services), origins: config.origins(), is_secure: config.is_secure() };
        let app = Arc::new(app);
        let bare: Router = Router::new().route(PATH, get(async || answer::ok(&json!({}))));
        let asked: Router<Arc<App>> = Router::new().route(PATH, get(nothing));
        let known = asked.clone().with_state(Arc::clone(&app));
        let api = asked.layer(middleware::from_fn_with_state(quotas, layers::api)).with_state(app);
        let mut onions = vec![("the route", bare), ("who asks", known), ("what holds for the API", api)];
        for (name, layer) in layers::LAYERS {
            let inner = onions.last().expect("there are some").1.clone();
            onions.push((name, layer(inner, &edge)));
        }
        let (gives_id, _) = layers::LAYERS[layers::LAYERS.len() - 1];
        let onion = |(outermost, router)| {
            let id = (outermost != gives_id).then(|| id.clone());
            Self { outermost, router, token: token.to_owned(), id }
        };
        onions.into_iter().map(onion).collect()
    }

    /// Asks once and reads the answer.
    ///
    /// # Panics
    ///
    /// If the answer is not the one that was expected.
    pub async fn ask(&self) {
        let request = Request::get(PATH).header(header::AUTHORIZATION, format!("Bearer {}", self.token));
        let request = request.header(header::HOST, "127.0.0.1").header(header::ACCEPT, "application/json");
        let mut request = request.body(Body::empty()).expect("a request");
        if let Some(id) = &self.id {
            request.extensions_mut().insert(id.clone());
        }
        let response = self.router.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
        assert_eq!(response.status(), StatusCode::OK, "the read passes");
        to_bytes(response.into_body(), usize::MAX).await.expect("the answer is in memory");
    }
}

async fn nothing(_: Context) -> Answer {
    Ok(answer::ok(&json!({})))
}
