//! Content codings: which one a request gets, and compressing bodies once.
//!
//! Owns the reading of `Accept-Encoding` (RFC 9110 section 12.5.3: q-values, `*`, `identity`). Refuses nothing: a
//! header that makes no sense gets the plain body.

use std::io::{self, Write};

use bytes::Bytes;

/// A content coding that ready responses are kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// As stored.
    Identity,
    /// `gzip`.
    Gzip,
    /// `zstd`.
    Zstd,
}

const GZIP_LEVEL: u32 = 6;
const ZSTD_LEVEL: i32 = 6;

impl Encoding {
    /// The value of `Content-Encoding`, `None` for a plain body.
    #[must_use]
    pub fn content_coding(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Zstd => Some("zstd"),
        }
    }

    /// What an entity tag ends with, so that each coding has its own strong tag.
    #[must_use]
    pub fn tag_suffix(self) -> &'static str {
        match self {
            Self::Identity => "",
            Self::Gzip => "-gzip",
            Self::Zstd => "-zstd",
        }
    }

    /// The coding to answer a request with: the highest q-value, on a tie zstd before gzip before identity.
    #[must_use]
    pub fn negotiate(accept_encoding: Option<&str>) -> Self {
        let Some(header) = accept_encoding else { return Self::Identity };
        let mut weights = Weights::default();
        for item in header.split(',') {
            weights.read(item);
        }
        weights.best()
    }

    /// Compresses `body`.
    ///
    /// # Errors
    /// When the coder fails, which memory-to-memory coding does only out of memory.
    pub fn compress(self, body: &Bytes) -> io::Result<Bytes> {
        match self {
            Self::Identity => Ok(body.clone()),
            Self::Gzip => {
                let level = flate2::Compression::new(GZIP_LEVEL);
                let mut encoder = flate2::write::GzEncoder::new(Vec::with_capacity(body.len() / 4), level);
                encoder.write_all(body)?;
                encoder.finish().map(Bytes::from)
            }
            Self::Zstd => zstd::bulk::compress(body, ZSTD_LEVEL).map(Bytes::from),
        }
    }
}

/// Weights in thousandths, `None` while the header has not named the coding.
#[derive(Default)]
struct Weights {
    gzip: Option<u16>,
    zstd: Option<u16>,
    identity: Option<u16>,
    any: Option<u16>,
}

impl Weights {
    fn read(&mut self, item: &str) {
        let mut parts = item.split(';').map(str::trim);
        let Some(name) = parts.next() else { return };
        let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let weight = quality.map_or(1_000, thousandths);
        let slot = if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
            &mut self.gzip
        } else if name.eq_ignore_ascii_case("zstd") {
            &mut self.zstd
        } else if name.eq_ignore_ascii_case("identity") {
            &mut self.identity
        } else if name == "*" {
            &mut self.any
        } else {
            return;
        };
        *slot = Some(weight);
    }

    fn best(&self) -> Encoding {
        let any = self.any.unwrap_or(0);
        let zstd = self.zstd.unwrap_or(any);
        let gzip = self.gzip.unwrap_or(any);
        let identity = self.identity.unwrap_or(0);
        if zstd > 0 && zstd >= gzip && zstd >= identity {
            Encoding::Zstd
        } else if gzip > 0 && gzip >= identity {
            Encoding::Gzip
        } else {
            Encoding::Identity
        }
    }
}

/// Reads a q-value; anything that is not a number between 0 and 1 counts as 0.
fn thousandths(text: &str) -> u16 {
    let value: f32 = text.trim().parse().unwrap_or(0.0);
    if (0.0..=1.0).contains(&value) { (value * 1_000.0) as u16 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_coding_wins() {
        for (header, expected) in [
            (None, Encoding::Identity),
            (Some(""), Encoding::Identity),
            (Some("gzip"), Encoding::Gzip),
            (Some("gzip, deflate, br, zstd"), Encoding::Zstd),
            (Some("gzip;q=1.0, zstd;q=0.5"), Encoding::Gzip),
            (Some("GZIP"), Encoding::Gzip),
            (Some("gzip;q=0"), Encoding::Identity),
            (Some("*"), Encoding::Zstd),
            (Some("*;q=0.5, zstd;q=0"), Encoding::Gzip),
            (Some("identity, gzip;q=0.5"), Encoding::Identity),
            (Some("br"), Encoding::Identity),
            (Some("gzip;q=wat"), Encoding::Identity),
            (Some(",;,;q=1,"), Encoding::Identity),
        ] {
            assert_eq!(Encoding::negotiate(header), expected, "{header:?}");
        }
    }

    #[test]
    fn compressed_bodies_decompress_to_themselves() {
        let body = Bytes::from("outpost ".repeat(500));
        let gzip = Encoding::Gzip.compress(&body).unwrap();
        let mut plain = Vec::new();
        io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&gzip[..]), &mut plain).unwrap();
        assert_eq!(plain, body);
        let zstd = Encoding::Zstd.compress(&body).unwrap();
        assert_eq!(zstd::bulk::decompress(&zstd, body.len()).unwrap(), body);
        assert!(gzip.len() < body.len() && zstd.len() < body.len());
    }
}
