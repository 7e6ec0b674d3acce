//! Routes and documentation, from one source.

use std::{collections::BTreeSet, sync::Arc};

use axum::Router;
use utoipa::openapi::{Components, ComponentsBuilder, Paths};
use utoipa_axum::router::UtoipaMethodRouter;

use crate::context::App;

/// One's own account has two names; the second is not documented apart.
const ME: [&str; 2] = ["/api/v1/users/me", "/api/v1/me"];

/// Calls that are routed as their documentation says: there is no way to add one without.
#[derive(Default)]
pub(crate) struct Calls {
    router: Router<Arc<App>>,
    paths: Paths,
    components: ComponentsBuilder,
    keyed: BTreeSet<String>,
}

impl Calls {
    /// Adds the calls of one path. If one of them is a `POST`, a repeat under its `Idempotency-Key` is answered as the first
    /// time, from an answer that is kept for a day.
    pub(crate) fn with(mut self, calls: UtoipaMethodRouter<Arc<App>>) -> Self {
        let posts = calls.1.paths.iter().filter(|(_, item)| item.post.is_some());
        self.keyed.extend(posts.flat_map(|(path, _)| [Some(path.clone()), second_name(path)]).flatten());
        self.unkeyed(calls)
    }

    /// Adds the calls of one path whose `POST` has no use for an `Idempotency-Key`: what it answers is a secret and must not
    /// be kept, or it only reads.
    pub(crate) fn unkeyed(mut self, (schemas, paths, handlers): UtoipaMethodRouter<Arc<App>>) -> Self {
        for path in paths.paths.keys() {
            self.router = self.router.route(path, handlers.clone());
            if let Some(name) = second_name(path) {
                self.router = self.router.route(&name, handlers.clone());
            }
        }
        self.paths.merge(paths);
        self.components = schemas.into_iter().fold(self.components, |all, (name, schema)| all.schema(name, schema));
        self
    }

    /// Returns the paths whose `POST` minds an `Idempotency-Key`.
    pub(crate) const fn keyed(&self) -> &BTreeSet<String> {
        &self.keyed
    }

    /// Returns the routes.
    pub(crate) fn into_router(self) -> Router<Arc<App>> {
        self.router
    }

    /// Returns the documentation.
    pub(crate) fn into_documentation(self) -> (Paths, Components) {
        (self.paths, self.components.build())
    }
}

/// Returns the other name of a path at or below one's own account.
fn second_name(path: &str) -> Option<String> {
    let below = path.strip_prefix(ME[0]).filter(|below| below.is_empty() || below.starts_with('/'))?;
    Some(format!("{}{below}", ME[1]))
}
