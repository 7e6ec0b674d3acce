//! Mail: letters that are meant to arrive once.
//!
//! What is to be sent is written down first, under a key, and its `Message-ID` follows from that key: a letter that is sent
//! again by mistake is known as the same one. [`MailStore`] keeps in which [`MailState`] each is; a [`Mailer`] hands it to a mail
//! server. A letter of which nobody can say whether it went out, since the line broke behind its text, is `unknown` and is not
//! sent again by itself.
//!
//! ```
//! use weltenwind_core::mail::{Letter, MailLocale};
//!
//! let text = Letter::Test.written(MailLocale::De, "https://wind.example");
//! assert_eq!(text.subject, "Probebrief von https://wind.example");
//! ```

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod error;
mod letter;
mod model;
mod port;
mod post;
mod service;

pub(crate) use self::post::Post;
pub use self::{
    error::MailError,
    letter::{Letter, MailLocale, ParseLocaleError, Written},
    model::{Begun, MailIntent, MailState, NewMail, OutgoingMail, ParseMailStateError, Queued, Settled},
    port::{MailFailure, MailStore, Mailer, NoMailer},
    service::{Mail, MailDraft},
};
