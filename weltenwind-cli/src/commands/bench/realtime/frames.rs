//! Just enough of RFC 6455 for clients that read millions of frames a second: no copies, and a mask of zeros.

use std::ops::Range;

use crate::failure::Failure;

/// What a server's frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Ping,
    Close,
    /// Nothing to do.
    Pong,
}

/// A server's frame in a buffer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) payload: Range<usize>,
}

/// Finds the frame that begins at `from`; none if it is not there to its end.
pub(super) fn next(bytes: &[u8], from: usize) -> Result<Option<Frame>, Failure> {
    let Some(&[first, second]) = bytes.get(from..from + 2) else { return Ok(None) };
    let (length, start) = match second {
        126 => match bytes.get(from + 2..from + 4) {
            Some(length) => (usize::from(u16::from_be_bytes(length.try_into().expect("two bytes"))), from + 4),
            None => return Ok(None),
        },
        127 => match bytes.get(from + 2..from + 10) {
            Some(length) => {
                let length = u64::from_be_bytes(length.try_into().expect("eight bytes"));
                (usize::try_from(length).map_err(|_| unreadable("it is too long"))?, from + 10)
            }
            None => return Ok(None),
        },
        length @ 0..=125 => (usize::from(length), from + 2),
        _ => return Err(unreadable("it is masked")),
    };
    let kind = match first {
        0x81 => Kind::Text,
        0x88 => Kind::Close,
        0x89 => Kind::Ping,
        0x8A => Kind::Pong,
        _ => return Err(unreadable("it is in pieces, compressed or of an unknown kind")),
    };
    let payload = start..start.checked_add(length).ok_or_else(|| unreadable("it is too long"))?;
    Ok((payload.end <= bytes.len()).then_some(Frame { kind, payload }))
}

fn unreadable(why: &str) -> Failure {
    Failure::failed(format!("a server's frame is not readable: {why}"))
}

/// Appends a client's text frame.
pub(super) fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    push(out, 0x81, text);
}

/// Appends the answer to a ping frame.
pub(super) fn push_pong(out: &mut Vec<u8>, payload: &[u8]) {
    push(out, 0x8A, payload);
}

/// The mask is of zeros: it protects proxies from browsers, and here are neither.
fn push(out: &mut Vec<u8>, first: u8, payload: &[u8]) {
    const MASKED: u8 = 0x80;
    out.push(first);
    match u16::try_from(payload.len()) {
        Ok(length @ 0..=125) => out.push(MASKED | u8::try_from(length).expect("it is short")),
        Ok(length) => {
            out.push(MASKED | 0x7E);
            out.extend_from_slice(&length.to_be_bytes());
        }
        Err(_) => {
            out.push(MASKED | 0x7F);
            out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload.len() {
            0..=125 => bytes.push(u8::try_from(payload.len()).unwrap()),
            length @ 126..=0xFFFF => {
                bytes.push(126);
                bytes.extend_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
            }
            length => {
                bytes.push(127);
                bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        bytes.extend_from_slice(payload);
        bytes
    }

    #[test]
    fn frames_of_every_length_are_found_and_halves_are_not() {
        for length in [0, 125, 126, 70_000] {
            let mut bytes = server_frame(0x81, &vec![b'x'; length]);
            let end = bytes.len();
            bytes.extend(server_frame(0x89, b"?"));

            let text = next(&bytes, 0).unwrap().unwrap();
            assert_eq!((text.kind, text.payload.clone()), (Kind::Text, end - length..end));
            let ping = next(&bytes, end).unwrap().unwrap();
            assert_eq!((ping.kind, &bytes[ping.payload]), (Kind::Ping, &b"?"[..]));
            for cut in [0, 1, 2, end - 1] {
                assert_eq!(next(&bytes[..cut.min(end - 1)], 0).unwrap(), None);
            }
        }
        assert!(next(&server_frame(0x01, b"a half"), 0).is_err());
    }

    #[test]
    fn what_is_sent_is_what_a_server_reads() {
        for length in [5, 200, 70_000] {
            let (mut out, text) = (Vec::new(), vec![b'y'; length]);

            push_text(&mut out, &text);

            let head = out.len() - length;
            assert_eq!((out[0], out[1] & 0x80, &out[head - 4..head]), (0x81, 0x80, &[0; 4][..]));
            assert_eq!(&out[head..], text);
        }
    }
}
