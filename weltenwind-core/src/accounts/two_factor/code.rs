//! Codes: those that an authenticator shows, and those that stand on paper.

use totp_rs::{Builder, Totp};

use crate::{clock::Timestamp, secret::Secret};

/// Bytes of an authenticator's secret: the length of SHA-1's digest, as RFC 4226 advises.
pub(super) const SECRET_BYTES: usize = 20;
/// Recovery codes of an account.
pub(super) const RECOVERY_CODES: usize = 10;
/// Random bytes of a recovery code.
pub(super) const RECOVERY_BYTES: usize = 10;
/// Characters of a recovery code in base32.
const RECOVERY_LENGTH: usize = RECOVERY_BYTES * 8 / 5;
/// Characters between two hyphens of a recovery code.
const GROUP: usize = 4;

/// What somebody types where a code is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Presented {
    /// Six digits, as an authenticator shows them.
    Code(Secret<String>),
    /// A recovery code, in capital letters and without hyphens.
    Recovery(Secret<String>),
}

impl Presented {
    /// Reads what was typed, whatever its blanks, hyphens and case; nothing if it is neither kind of code.
    pub(super) fn read(text: &str) -> Option<Self> {
        let is_typing = |c: char| c == '-' || c.is_whitespace();
        let text: String = text.chars().filter(|c| !is_typing(*c)).map(|c| c.to_ascii_uppercase()).collect();
        let is_base32 = |b: u8| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b);
        if text.len() == 6 && text.bytes().all(|b| b.is_ascii_digit()) {
            Some(Self::Code(Secret::new(text)))
        } else if text.len() == RECOVERY_LENGTH && text.bytes().all(is_base32) {
            Some(Self::Recovery(Secret::new(text)))
        } else {
            None
        }
    }
}

/// An account's authenticator, as the server knows it.
pub(super) struct Authenticator(Totp);

impl Authenticator {
    /// Takes a secret of [`SECRET_BYTES`]; the names are what the authenticator calls it.
    pub(super) fn new(secret: &[u8; SECRET_BYTES], issuer: &str, username: &str) -> Self {
        let builder = Builder::new().with_secret(secret.to_vec()).with_skew(1);
        let named = builder.with_issuer(Some(issuer)).with_account_name(username);
        Self(named.build().expect("the secret is as long as it should be, and no name has a colon"))
    }

    /// Returns the step that a code belongs to, if it is of the present one, the last or the next.
    pub(super) fn step_of(&self, code: &str, now: Timestamp) -> Option<i64> {
        let seconds = u64::try_from(now.as_second()).ok()?;
        self.0.check(code, seconds).and_then(|step| i64::try_from(step).ok())
    }

    /// Returns the secret in base32.
    pub(super) fn secret(&self) -> Secret<String> {
        Secret::new(self.0.secret().to_base32())
    }

    /// Returns the address that authenticators read from a picture.
    pub(super) fn uri(&self) -> Secret<String> {
        Secret::new(self.0.to_url().expect("both names are set"))
    }
}

/// Writes random bytes as a recovery code: four groups of four letters and digits.
pub(super) fn recovery_code(bytes: &[u8; RECOVERY_BYTES]) -> Secret<String> {
    let text = totp_rs::Secret::from(bytes.to_vec()).to_base32();
    let groups: Vec<&str> = (0..text.len()).step_by(GROUP).map(|at| &text[at..at + GROUP]).collect();
    Secret::new(groups.join("-").to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    /// RFC 6238, appendix B: the last six of its eight digits.
    #[test]
    fn codes_are_those_of_the_rfc() {
        let authenticator = Authenticator::new(b"12345678901234567890", "wind.example", "mira");

        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(authenticator.step_of(code, at(seconds)), Some(seconds / 30), "{code}");
        }
    }

    #[test]
    fn a_code_passes_one_step_early_and_one_late() {
        let authenticator = Authenticator::new(b"12345678901234567890", "wind.example", "mira");
        let (code, step) = ("081804", 1_111_111_109 / 30);

        for later in [-1, 0, 1] {
            assert_eq!(authenticator.step_of(code, at((step + later) * 30)), Some(step), "{later}");
        }
        for later in [-2, 2] {
            assert_eq!(authenticator.step_of(code, at((step + later) * 30)), None, "{later}");
        }
        assert_eq!(authenticator.step_of("081805", at(step * 30)), None);
    }

    #[test]
    fn an_authenticator_is_told_its_secret_and_its_name() {
        let authenticator = Authenticator::new(b"12345678901234567890", "wind.example", "mira");

        assert_eq!(authenticator.secret().expose(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        let uri = authenticator.uri().expose().clone();
        assert!(uri.starts_with("otpauth://totp/wind.example:mira?"), "{uri}");
        for part in ["secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ", "issuer=wind.example"] {
            assert!(uri.contains(part), "{uri}");
        }
    }

    #[test]
    fn a_recovery_code_is_read_as_it_is_written_and_as_it_is_typed() {
        let code = recovery_code(&[0, 1, 2, 3, 4, 250, 251, 252, 253, 254]);
        let read = Presented::read(code.expose()).unwrap();

        assert_eq!((code.expose().len(), code.expose().matches('-').count()), (19, 3), "{}", code.expose());
        assert!(matches!(&read, Presented::Recovery(code) if code.expose().len() == RECOVERY_LENGTH));
        let typed = code.expose().to_uppercase().replace('-', " ");
        assert_eq!(Presented::read(&typed), Some(read));
    }

    #[test]
    fn six_digits_are_a_code_and_anything_else_is_none() {
        assert_eq!(Presented::read(" 123 456 "), Some(Presented::Code(Secret::new("123456".to_owned()))));
        for text in ["", "12345", "1234567", "12345a", "١٢٣٤٥٦", "aaaa-bbbb-cccc-ddd1", "aaaa-bbbb-cccc-ddd"] {
            assert_eq!(Presented::read(text), None, "{text}");
        }
    }
}
