//! Where writers put octets.

use alloc::vec::Vec;

use crate::error::Result;

/// Takes octets, in order. Vectors do, and append; [`SliceSink`] fills what it is given; with the feature `std`
/// [`IoSink`] passes them to a [`std::io::Write`], with the feature `bytes` `bytes::BytesMut` appends them.
pub trait Sink {
    /// Takes these octets, all of them or none.
    ///
    /// # Errors
    ///
    /// When there is no room for them or the writer behind it fails.
    fn put(&mut self, octets: &[u8]) -> Result<()>;

    /// Takes one octet.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    #[inline]
    fn put_octet(&mut self, octet: u8) -> Result<()> {
        self.put(&[octet])
    }

    /// Takes two octets and others behind them, as short strings are written.
    ///
    /// # Errors
    ///
    /// As [`put`](Self::put).
    #[inline]
    fn put_headed(&mut self, head: [u8; 2], octets: &[u8]) -> Result<()> {
        self.put(&head)?;
        self.put(octets)
    }
}

impl Sink for Vec<u8> {
    #[inline]
    fn put(&mut self, octets: &[u8]) -> Result<()> {
        self.extend_from_slice(octets);
        Ok(())
    }

    #[inline]
    fn put_octet(&mut self, octet: u8) -> Result<()> {
        self.push(octet);
        Ok(())
    }

    #[inline(always)]
    fn put_headed(&mut self, head: [u8; 2], octets: &[u8]) -> Result<()> {
        self.reserve(octets.len().saturating_add(2));
        self.extend_from_slice(&head);
        self.extend_from_slice(octets);
        Ok(())
    }
}

impl<S: Sink + ?Sized> Sink for &mut S {
    #[inline]
    fn put(&mut self, octets: &[u8]) -> Result<()> {
        (**self).put(octets)
    }

    #[inline]
    fn put_octet(&mut self, octet: u8) -> Result<()> {
        (**self).put_octet(octet)
    }

    #[inline(always)]
    fn put_headed(&mut self, head: [u8; 2], octets: &[u8]) -> Result<()> {
        (**self).put_headed(head, octets)
    }
}

#[cfg(feature = "bytes")]
impl Sink for bytes::BytesMut {
    #[inline]
    fn put(&mut self, octets: &[u8]) -> Result<()> {
        self.extend_from_slice(octets);
        Ok(())
    }
}

/// Fills a slice.
///
/// ```
/// use jsonbcd::{Encoder, SliceSink};
///
/// let mut memory = [0; 16];
/// let mut sink = SliceSink::new(&mut memory);
/// Encoder::new().to_writer(&mut sink, "Hello")?;
/// assert_eq!(sink.written(), b"\x80\x05Hello");
/// assert!(Encoder::new().to_writer(&mut sink, "too much for it").is_err());
/// # Ok::<(), jsonbcd::Error>(())
/// ```
#[derive(Debug)]
pub struct SliceSink<'a> {
    slice: &'a mut [u8],
    filled: usize,
}

impl<'a> SliceSink<'a> {
    /// Fills this slice from its beginning.
    pub fn new(slice: &'a mut [u8]) -> Self {
        Self { slice, filled: 0 }
    }

    /// What was put into it.
    pub fn written(&self) -> &[u8] {
        self.slice.get(..self.filled).unwrap_or_default()
    }
}

impl Sink for SliceSink<'_> {
    fn put(&mut self, octets: &[u8]) -> Result<()> {
        let end = self.filled.saturating_add(octets.len());
        let Some(room) = self.slice.get_mut(self.filled..end) else {
            return Err(crate::Error::new(crate::ErrorKind::SinkFull));
        };
        room.copy_from_slice(octets);
        self.filled = end;
        Ok(())
    }
}

/// Passes octets on to a [`std::io::Write`], a few at a time: give it one that buffers.
#[cfg(feature = "std")]
#[derive(Debug)]
#[allow(clippy::exhaustive_structs, reason = "it is a name for what is in it")]
pub struct IoSink<W>(pub W);

#[cfg(feature = "std")]
impl<W: std::io::Write> Sink for IoSink<W> {
    fn put(&mut self, octets: &[u8]) -> Result<()> {
        self.0.write_all(octets).map_err(|error| crate::Error::new(crate::ErrorKind::Io(error.kind())))
    }
}
