//! Finished frames: records in one text frame of RFC 6455, one per line, as they go over the wire.

use bytes::Bytes;

/// The longest header of a frame that is not masked: two bytes and a length of eight.
const HEADER: usize = 10;
/// The first byte of a frame that is a whole text message.
const WHOLE_TEXT: u8 = 0x81;

/// Gathers records into one frame. What a server sends is not masked, so the same bytes serve every receiver.
#[derive(Debug)]
pub(crate) struct FrameBuilder {
    /// Room for the header, then the text.
    buffer: Vec<u8>,
}

impl FrameBuilder {
    pub(crate) fn new() -> Self {
        Self { buffer: vec![0; HEADER] }
    }

    /// Returns the length of the text so far.
    pub(crate) fn len(&self) -> usize {
        self.buffer.len() - HEADER
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a record.
    pub(crate) fn push(&mut self, record: &[u8]) {
        if !self.is_empty() {
            self.buffer.push(b'\n');
        }
        self.buffer.extend_from_slice(record);
    }

    /// Writes the header in front of the text.
    pub(crate) fn finish(mut self) -> Bytes {
        let length = self.len();
        let start = match length {
            0..126 => {
                self.buffer[8] = WHOLE_TEXT;
                self.buffer[9] = u8::try_from(length).expect("less than 126");
                8
            }
            126..0x1_0000 => {
                self.buffer[6..8].copy_from_slice(&[WHOLE_TEXT, 126]);
                let length = u16::try_from(length).expect("less than 64 KiB");
                self.buffer[8..10].copy_from_slice(&length.to_be_bytes());
                6
            }
            _ => {
                self.buffer[..2].copy_from_slice(&[WHOLE_TEXT, 127]);
                self.buffer[2..10].copy_from_slice(&(length as u64).to_be_bytes());
                0
            }
        };
        // Frames are kept for long, and counted by their length: what the buffer has to spare is given back.
        Bytes::from(self.buffer.into_boxed_slice()).slice(start..)
    }
}

/// Makes a frame of one record.
pub(crate) fn of_record(record: &[u8]) -> Bytes {
    let mut frame = FrameBuilder::new();
    frame.push(record);
    frame.finish()
}

/// Returns whether these bytes of a client are whole messages of one frame each, or control frames, and nothing besides.
///
/// What breaks the protocol may pass for whole: whoever reads it finds out.
pub(crate) fn are_whole(bytes: &[u8]) -> bool {
    const LAST: u8 = 0x80;
    const OPCODE: u8 = 0x0F;
    const MASKED: u8 = 0x80;
    let mut rest = bytes;
    while let &[first, second, ref behind @ ..] = rest {
        let is_message = first & LAST != 0 && first & OPCODE != 0;
        let length = match second & !MASKED {
            126 => behind.split_first_chunk().map(|(length, behind)| (u16::from_be_bytes(*length).into(), behind)),
            127 => behind.split_first_chunk().map(|(length, behind)| (u64::from_be_bytes(*length), behind)),
            length => Some((length.into(), behind)),
        };
        let mask = if second & MASKED != 0 { 4 } else { 0 };
        let Some((length, behind)) = length.filter(|_| is_message) else { return false };
        let Some(behind) = usize::try_from(length).ok().and_then(|length| behind.get(length.checked_add(mask)?..))
        else {
            return false;
        };
        rest = behind;
    }
    rest.is_empty()
}

/// Returns where the text of a finished frame begins.
pub(crate) fn text_of(frame: &Bytes) -> Bytes {
    let header = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    frame.slice(header..)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use tokio_tungstenite::tungstenite::{Message, WebSocket, protocol::Role};

    use super::*;

    #[test]
    fn frames_of_every_length_are_read_as_they_were_meant() {
        for length in [1, 2, 125, 126, 127, 0xffff, 0x1_0000, 0x1_0001] {
            let text = "ß".repeat(length / 2) + &"x".repeat(length % 2);
            let frame = of_record(text.as_bytes());
            assert_eq!(text_of(&frame), text.as_bytes());

            let mut client = WebSocket::from_raw_socket(Cursor::new(frame.to_vec()), Role::Client, None);

            assert_eq!(client.read().unwrap(), Message::text(text), "{length}");
        }
    }

    #[test]
    fn whole_messages_are_told_from_the_beginning_of_one() {
        let (text, ping, masked) = ([0x81, 2, b'h', b'i'], [0x89, 0], [0x81, 0x81, 1, 2, 3, 4, 5]);
        let long = [&[0x82, 126, 1, 0][..], &[0; 256]].concat();
        let longer = [&[0x81, 0xFF][..], &0x1_0000_u64.to_be_bytes(), &vec![0; 4 + 0x1_0000]].concat();
        for whole in [&[][..], &text, &ping, &masked, &long, &longer, &[&text[..], &masked, &ping].concat()] {
            assert!(are_whole(whole), "{:?}", &whole[..whole.len().min(10)]);
            for end in 1..whole.len().min(20) {
                let (begun, is_end) = (&whole[..end], [0, text.len(), text.len() + masked.len()].contains(&end));
                assert!(!are_whole(begun) || is_end, "{begun:?}");
            }
        }

        assert!(!are_whole(&[0x01, 1, b'h']), "more of the message is to come");
        assert!(!are_whole(&[0x80, 1, b'i']), "it began earlier");
        assert!(!are_whole(&[&[0x81, 127][..], &u64::MAX.to_be_bytes()].concat()), "nobody has that much");
    }

    #[test]
    fn records_share_a_frame_one_per_line() {
        let mut frame = FrameBuilder::new();
        for record in ["one", "two", "three"] {
            frame.push(record.as_bytes());
        }

        assert_eq!(frame.len(), 13);
        assert_eq!(&frame.finish()[2..], b"one\ntwo\nthree");
    }
}
