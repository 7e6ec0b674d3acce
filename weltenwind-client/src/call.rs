//! One call over HTTP: sent, answered, and tried again where that is harmless.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use reqwest::{
    Method, Response, StatusCode, Url,
    header::{self, HeaderMap, HeaderName},
};
use serde::{Serialize, de::DeserializeOwned};
use weltenwind_core::{IdGenerator as _, SystemIds};

use crate::{
    cache::{Entry, Key},
    client::Client,
    error::{ClientError, Refusal},
    retry::Repeat,
    session::Tokens,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What is asked.
#[derive(Debug)]
pub(crate) struct Call {
    method: Method,
    url: Url,
    body: Option<Bytes>,
    repeat: Repeat,
}

impl Call {
    pub(crate) const fn new(method: Method, url: Url, repeat: Repeat) -> Self {
        Self { method, url, body: None, repeat }
    }

    /// Sends a body along.
    pub(crate) fn json(mut self, body: &impl Serialize) -> Result<Self, ClientError> {
        let body = serde_json::to_vec(body).map_err(|error| ClientError::Setup(Box::new(error)))?;
        self.body = Some(body.into());
        Ok(self)
    }
}

/// A success.
#[derive(Debug)]
pub(crate) struct Answer {
    correlation_id: String,
    body: Bytes,
}

impl Answer {
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body).map_err(|error| ClientError::Unreadable {
            correlation_id: self.correlation_id.clone(),
            source: Box::new(error),
        })
    }
}

impl Client {
    /// Makes a call with a token, or none; reads are asked for only if they have changed.
    pub(crate) async fn ask_as(&self, call: &Call, tokens: Option<&Tokens>) -> Result<Answer, ClientError> {
        if call.method != Method::GET {
            return self.attempt(call, tokens, None).await;
        }
        let key = Key { sign_in: tokens.map_or(0, |tokens| tokens.sign_in), url: call.url.clone() };
        let known = self.inner.cache.find(&key);
        self.attempt(call, tokens, Some((key, known))).await
    }

    /// Tries until there is an answer, or no point in going on.
    pub(crate) async fn attempt(
        &self,
        call: &Call,
        tokens: Option<&Tokens>,
        cached: Option<(Key, Option<Arc<Entry>>)>,
    ) -> Result<Answer, ClientError> {
        let mut made = 0;
        loop {
            let error = match self.once(call, tokens, cached.as_ref()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            made += 1;
            let (correlation_id, method, path) = (error.correlation_id(), &call.method, call.url.path());
            let Some(pause) = self.inner.retry.pause(made, &error, call.repeat) else {
                tracing::debug!(correlation_id, %method, path, made, %error, "a call failed");
                return Err(error);
            };
            tracing::info!(correlation_id, %method, path, made, ?pause, %error, "a call is tried again");
            tokio::time::sleep(pause).await;
        }
    }

    async fn once(
        &self,
        call: &Call,
        tokens: Option<&Tokens>,
        cached: Option<&(Key, Option<Arc<Entry>>)>,
    ) -> Result<Answer, ClientError> {
        let known = cached.and_then(|(_, known)| known.as_ref());
        let correlation_id = SystemIds.draw().to_string();
        let mut request = self.inner.http.request(call.method.clone(), call.url.clone());
        request = request.timeout(self.inner.timeout).header(REQUEST_ID, &correlation_id);
        if let Some(tokens) = tokens {
            request = request.bearer_auth(tokens.access.expose());
        }
        if let Some(body) = &call.body {
            request = request.header(header::CONTENT_TYPE, "application/json").body(body.clone());
        }
        if let Some(known) = known {
            request = request.header(header::IF_NONE_MATCH, &known.etag);
        }
        let response = request.send().await.map_err(|error| unreachable(&correlation_id, error))?;

        let correlation_id = named(response.headers()).unwrap_or(correlation_id);
        if let (StatusCode::NOT_MODIFIED, Some(known)) = (response.status(), known) {
            return Ok(Answer { correlation_id, body: known.body.clone() });
        }
        if !response.status().is_success() {
            return Err(refusal(response, correlation_id).await);
        }
        let etag = response.headers().get(header::ETAG).cloned();
        let body = response.bytes().await.map_err(|error| unreachable(&correlation_id, error))?;
        if let (Some((key, _)), Some(etag)) = (cached, etag) {
            self.inner.cache.keep(key.clone(), etag, body.clone());
        }
        Ok(Answer { correlation_id, body })
    }
}

/// Reads an answer that is no success.
pub(crate) async fn refusal(response: Response, correlation_id: String) -> ClientError {
    let correlation_id = named(response.headers()).unwrap_or(correlation_id);
    let status = response.status().as_u16();
    let wait = response.headers().get(header::RETRY_AFTER);
    // The other form of the header, a date, is not what a Weltenwind server sends.
    let wait = wait.and_then(|wait| wait.to_str().ok()?.parse().ok()).map(Duration::from_secs);
    let body = response.bytes().await.unwrap_or_default();
    Box::new(Refusal::of_answer(status, &body, correlation_id, wait)).into()
}

pub(crate) fn unreachable(correlation_id: &str, error: reqwest::Error) -> ClientError {
    // Addresses may carry a cursor or a search; the log has the path.
    let (sent, source) = (!error.is_connect(), error.without_url());
    ClientError::Unreachable { correlation_id: correlation_id.to_owned(), sent, source: Box::new(source) }
}

/// Returns what the server calls the request.
fn named(headers: &HeaderMap) -> Option<String> {
    Some(headers.get(REQUEST_ID)?.to_str().ok()?.to_owned())
}
