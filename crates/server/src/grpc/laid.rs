//! Answers laid straight into the bytes that go out: between the roster and the frame there is no message, and no string for
//! each name. The generated messages are the oracle in the tests of `found.rs`.

use std::marker::PhantomData;

use bytes::BufMut as _;
use prost::Message;
use tonic::Status;
use tonic::codec::{BufferSettings, EncodeBuf};
use tonic_prost::{ProstCodec, ProstDecoder};

/// Two frames of HTTP/2 as they are unless the client asks for larger ones.
const WRITE_BYTES: usize = 32 * 1_024;
/// A write and the answer that filled it, so that the buffer hardly ever grows.
const BUFFER_BYTES: usize = WRITE_BYTES + 4 * 1_024;

/// What numbers are laid as (protobuf encoding, "Message Structure").
#[derive(Debug, Clone, Copy)]
enum WireType {
    Varint = 0,
    Fixed64 = 1,
    Length = 2,
    Fixed32 = 5,
}

/// The bytes of a protobuf message, to be laid in the order of its tags. What has its default is left out, as `prost` does, but
/// for elements of lists and what is known of optional fields.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Laid(Vec<u8>);

impl Laid {
    /// Empty, with room for so many bytes.
    pub(super) fn with_room(bytes: usize) -> Self {
        Self(Vec::with_capacity(bytes))
    }

    /// A message that is rare enough to be made.
    pub(super) fn of(message: &impl Message) -> Self {
        Self(message.encode_to_vec())
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(super) fn number(&mut self, tag: u32, value: u64) {
        if value != 0 {
            self.key(tag, WireType::Varint);
            self.varint(value);
        }
    }

    /// A number that is near zero on either side (`sint32`).
    pub(super) fn signed(&mut self, tag: u32, value: i32) {
        self.number(tag, u64::from((value << 1 ^ value >> 31) as u32));
    }

    pub(super) fn double(&mut self, tag: u32, value: f64) {
        self.double_if_known(tag, (value != 0.0).then_some(value));
    }

    pub(super) fn double_if_known(&mut self, tag: u32, value: Option<f64>) {
        if let Some(value) = value {
            self.key(tag, WireType::Fixed64);
            self.0.extend_from_slice(&value.to_le_bytes());
        }
    }

    pub(super) fn float_if_known(&mut self, tag: u32, value: Option<f32>) {
        if let Some(value) = value {
            self.key(tag, WireType::Fixed32);
            self.0.extend_from_slice(&value.to_le_bytes());
        }
    }

    pub(super) fn text(&mut self, tag: u32, text: &str) {
        if !text.is_empty() {
            self.element(tag, text);
        }
    }

    /// One text of a list.
    pub(super) fn element(&mut self, tag: u32, text: &str) {
        self.key(tag, WireType::Length);
        self.varint(text.len() as u64);
        self.0.extend_from_slice(text.as_bytes());
    }

    /// A message within this one, laid by `lay`.
    pub(super) fn message(&mut self, tag: u32, lay: impl FnOnce(&mut Self)) {
        self.key(tag, WireType::Length);
        let at = self.0.len();
        self.0.push(0);
        lay(self);
        let end = self.0.len();
        let length = end - at - 1;
        if length < 0x80 {
            self.0[at] = length as u8;
            return;
        }
        // What was laid makes room for a longer length, which is laid behind it and moves to its place.
        self.varint(length as u64);
        let length_bytes = self.0.len() - end;
        self.0[at..].rotate_right(length_bytes);
        self.0.remove(at + length_bytes);
    }

    fn key(&mut self, tag: u32, wire_type: WireType) {
        self.varint(u64::from(tag << 3 | wire_type as u32));
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// What a frame can hold.
pub(crate) trait Frame: Send + 'static {
    fn lay(self, frame: &mut EncodeBuf<'_>);
}

impl Frame for Laid {
    fn lay(self, frame: &mut EncodeBuf<'_>) {
        frame.put_slice(&self.0);
    }
}

impl<M: Message + 'static> Frame for M {
    fn lay(self, frame: &mut EncodeBuf<'_>) {
        self.encode(frame).expect("a frame grows");
    }
}

/// Reads messages, and sends messages and what is laid already.
#[derive(Debug)]
pub(crate) struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Frame, U: Message + Default + 'static> tonic::codec::Codec for Codec<T, U> {
    type Encode = T;
    type Decode = U;
    type Encoder = Encoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Encoder<T> {
        Encoder(PhantomData)
    }

    fn decoder(&mut self) -> ProstDecoder<U> {
        ProstCodec::<U, U>::raw_decoder(BufferSettings::default())
    }
}

/// The sending half of [`Codec`].
#[derive(Debug)]
pub(crate) struct Encoder<T>(PhantomData<T>);

impl<T: Frame> tonic::codec::Encoder for Encoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, frame: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.lay(frame);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BUFFER_BYTES, WRITE_BYTES)
    }
}
