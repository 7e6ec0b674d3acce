//! One call over HTTP: sent, answered, and tried again where that is harmless.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use reqwest::{
    Method, Response, StatusCode, Url,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use serde::{Serialize, de::DeserializeOwned};
use weltenwind_core::{Clock as _, IdGenerator as _, SystemClock, SystemIds, Timestamp};

use crate::{
    cache::{Entry, Key},
    client::Client,
    error::{ClientError, Refusal},
    retry::Repeat,
    session::Tokens,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// When a call must have ended, attempts, pauses and renewals together; none is never.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Until(Option<Instant>);

impl Until {
    /// Until so long from now.
    pub(crate) fn after(limit: Option<Duration>) -> Self {
        Self(limit.and_then(|limit| Instant::now().checked_add(limit)))
    }

    fn left(self) -> Option<Duration> {
        self.0.map(|until| until.saturating_duration_since(Instant::now()))
    }

    /// Returns whether something is left after a pause.
    fn is_behind(self, pause: Duration) -> bool {
        self.left().is_none_or(|left| left > pause)
    }

    /// Shortens what would last longer.
    fn cut(self, limit: Duration) -> Duration {
        self.left().map_or(limit, |left| left.min(limit))
    }
}

/// What is asked.
#[derive(Debug)]
pub(crate) struct Call {
    method: Method,
    url: Url,
    body: Option<Bytes>,
    repeat: Repeat,
    key: Option<String>,
    /// The state that it is meant for.
    seen: Option<HeaderValue>,
}

impl Call {
    pub(crate) const fn new(method: Method, url: Url, repeat: Repeat) -> Self {
        Self { method, url, body: None, repeat, key: None, seen: None }
    }

    /// A call that makes something, under a name of this side's own: however often it is sent, it is made once.
    pub(crate) fn keyed(url: Url, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..Self::new(Method::POST, url, Repeat::Harmless) }
    }

    /// Changes a thing in the state that was seen of it, and in no other.
    pub(crate) fn of_state(mut self, seen: Option<&HeaderValue>) -> Self {
        self.seen = seen.cloned();
        self
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
    etag: Option<HeaderValue>,
    body: Bytes,
}

/// A thing, and in which state it was seen: what a change of it needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tagged<T> {
    /// The thing.
    pub value: T,
    pub(crate) etag: Option<HeaderValue>,
}

impl Answer {
    pub(crate) fn tagged<T: DeserializeOwned>(&self) -> Result<Tagged<T>, ClientError> {
        Ok(Tagged { value: self.json()?, etag: self.etag.clone() })
    }

    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body).map_err(|error| ClientError::Unreadable {
            correlation_id: self.correlation_id.clone(),
            source: Box::new(error),
        })
    }
}

impl Client {
    /// Makes a call with a token, or none; reads are asked for only if they have changed.
    pub(crate) async fn ask_as(
        &self,
        call: &Call,
        tokens: Option<&Tokens>,
        until: Until,
    ) -> Result<Answer, ClientError> {
        if call.method != Method::GET {
            return self.attempt(call, tokens, None, until).await;
        }
        let key = Key { sign_in: tokens.map_or(0, |tokens| tokens.sign_in), url: call.url.clone() };
        let known = self.inner.cache.find(&key);
        self.attempt(call, tokens, Some((key, known)), until).await
    }

    /// Tries until there is an answer, or no point in going on.
    pub(crate) async fn attempt(
        &self,
        call: &Call,
        tokens: Option<&Tokens>,
        cached: Option<(Key, Option<Arc<Entry>>)>,
        until: Until,
    ) -> Result<Answer, ClientError> {
        let mut made = 0;
        loop {
            let error = match self.once(call, tokens, cached.as_ref(), until).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            made += 1;
            let (correlation_id, method, path) = (error.correlation_id(), &call.method, call.url.path());
            let pause = self.inner.retry.pause(made, &error, call.repeat).filter(|pause| until.is_behind(*pause));
            let Some(pause) = pause else {
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
        until: Until,
    ) -> Result<Answer, ClientError> {
        let known = cached.and_then(|(_, known)| known.as_ref());
        let correlation_id = SystemIds.draw().to_string();
        let mut request = self.inner.http.request(call.method.clone(), call.url.clone());
        request = request.timeout(until.cut(self.inner.timeout)).header(REQUEST_ID, &correlation_id);
        if let Some(key) = &call.key {
            request = request.header(IDEMPOTENCY_KEY, key);
        }
        if let Some(seen) = &call.seen {
            request = request.header(header::IF_MATCH, seen);
        }
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
            return Ok(Answer { correlation_id, etag: Some(known.etag.clone()), body: known.body.clone() });
        }
        if !response.status().is_success() {
            return Err(refusal(response, correlation_id).await);
        }
        let may_be_kept = may_be_kept(response.headers());
        let etag = response.headers().get(header::ETAG).cloned();
        let body = response.bytes().await.map_err(|error| unreachable(&correlation_id, error))?;
        if let (Some((key, _)), Some(etag)) = (cached, etag.clone().filter(|_| may_be_kept)) {
            self.inner.cache.keep(key.clone(), etag, body.clone());
        }
        Ok(Answer { correlation_id, etag, body })
    }
}

/// Reads an answer that is no success.
pub(crate) async fn refusal(response: Response, correlation_id: String) -> ClientError {
    let correlation_id = named(response.headers()).unwrap_or(correlation_id);
    let status = response.status().as_u16();
    let wait = retry_after(response.headers(), SystemClock.now());
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

/// Reads how long to wait: seconds, or a date (RFC 9110, 10.2.3). A date is held against that of the answer itself, which was
/// told by the same clock; only without one against `now`.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).map(str::trim);
    let date = |text| httpdate::parse_http_date(text).ok();
    let wait = text(header::RETRY_AFTER)?;
    if wait.bytes().all(|b| b.is_ascii_digit()) {
        // More digits than fit are a very long time.
        return (!wait.is_empty()).then(|| Duration::from_secs(wait.parse().unwrap_or(u64::MAX)));
    }
    let now = text(header::DATE).and_then(date).unwrap_or_else(|| SystemTime::from(now));
    Some(date(wait)?.duration_since(now).unwrap_or_default())
}

/// Returns whether an answer may be remembered: what is nobody's to keep may hold a secret.
fn may_be_kept(headers: &HeaderMap) -> bool {
    let mut directives =
        headers.get_all(header::CACHE_CONTROL).iter().flat_map(|list| list.to_str().unwrap_or_default().split(','));
    !directives.any(|directive| directive.trim().eq_ignore_ascii_case("no-store"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_pause_is_told_in_seconds_or_by_a_date() {
        // 2026-01-01T00:00:00Z.
        let now = Timestamp::from_second(1_767_225_600).unwrap();
        let (soon, later) = ("Thu, 01 Jan 2026 00:00:30 GMT", "Thu, 01 Jan 2026 00:01:00 GMT");
        let wait = |after, date: Option<&'static str>| {
            let mut headers = with(&[(header::RETRY_AFTER, after)]);
            if let Some(date) = date {
                headers.insert(header::DATE, HeaderValue::from_static(date));
            }
            retry_after(&headers, now)
        };

        assert_eq!(wait("7", None), Some(Duration::from_secs(7)));
        assert_eq!(wait(" 0 ", None), Some(Duration::ZERO));
        assert_eq!(wait(soon, None), Some(Duration::from_secs(30)));
        assert_eq!(wait(later, Some(soon)), Some(Duration::from_secs(30)), "by the server's own clock");
        assert_eq!(wait(soon, Some(later)), Some(Duration::ZERO), "it is past");
        assert_eq!(wait("99999999999999999999999", None), Some(Duration::from_secs(u64::MAX)));
        for nonsense in ["", "-1", "1.5", "soon", "2026-01-01T00:00:30Z"] {
            assert_eq!(wait(nonsense, None), None, "{nonsense:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn what_is_nobody_s_to_keep_is_not_kept() {
        for (control, kept) in
            [("private, no-cache", true), ("no-store", false), ("private, No-Store", false), ("", true)]
        {
            assert_eq!(may_be_kept(&with(&[(header::CACHE_CONTROL, control)])), kept, "{control}");
        }
        assert!(may_be_kept(&HeaderMap::new()));
    }

    #[test]
    fn a_limit_cuts_attempts_and_pauses() {
        let (none, soon) = (Until::after(None), Until::after(Some(Duration::from_secs(5))));
        let (second, minute) = (Duration::from_secs(1), Duration::from_mins(1));

        assert!(none.is_behind(minute) && none.cut(minute) == minute);
        assert!(soon.is_behind(second) && !soon.is_behind(minute));
        assert!(soon.cut(second) == second && soon.cut(minute) <= Duration::from_secs(5));
    }
}
