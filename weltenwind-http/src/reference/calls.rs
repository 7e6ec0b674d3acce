//! Routes and documentation, from one source.

use std::sync::Arc;

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
}

impl Calls {
    /// Adds the calls of one path.
    pub(crate) fn with(mut self, (schemas, paths, handlers): UtoipaMethodRouter<Arc<App>>) -> Self {
        for path in paths.paths.keys() {
            self.router = self.router.route(path, handlers.clone());
            if let Some(below) = path.strip_prefix(ME[0]).filter(|below| below.is_empty() || below.starts_with('/')) {
                self.router = self.router.route(&format!("{}{below}", ME[1]), handlers.clone());
            }
        }
        self.paths.merge(paths);
        self.components = schemas.into_iter().fold(self.components, |all, (name, schema)| all.schema(name, schema));
        self
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
