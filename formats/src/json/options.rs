//! Options of the `json` module.

use std::io::{self, Read};

use outpost_model::limits;
use serde_json::Value as Json;

use crate::compression::open_extracted;
use crate::encoding::{Decoder, Encoding, OnInvalid};
use crate::error::{ErrorClass, FormatError};
use crate::module::{DataFile, Params};

/// The names of the options (dataset-loading.md section 1.7).
pub(super) const NAMES: &[&str] = &[
    "features",
    "encoding",
    "encoding_errors",
    "field",
    "use_threads",
    "block_size",
    "chunksize",
    "newlines_in_values",
    "on_mixed_types",
    "parse_agent_traces",
];

/// Options of a README's config, checked.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) field: Option<String>,
    pub(super) chunk_bytes: usize,
    /// Whether values of changing type become JSON text.
    pub(super) encodes_mixed: bool,
    /// The text's encoding where it is not UTF-8, which is read as it is.
    encoding: Option<(Encoding, OnInvalid)>,
}

impl Options {
    pub(super) fn new(params: &Params) -> Result<Self, FormatError> {
        let set = |name: &str| params.get(name).filter(|value| !value.is_null());
        if set("newlines_in_values").is_some() {
            return Err(FormatError::new(
                ErrorClass::ValueError,
                "The JSON loader parameter `newlines_in_values` is no longer supported",
            ));
        }
        let chunk_bytes = set("block_size").or(set("chunksize")).and_then(Json::as_u64);
        Ok(Self {
            field: set("field").map(|field| field.as_str().map_or_else(|| field.to_string(), str::to_owned)),
            chunk_bytes: chunk_bytes
                .and_then(|bytes| usize::try_from(bytes).ok())
                .map_or(limits::CHUNK_BYTES, |bytes| bytes.clamp(1, limits::WHOLE_FILE_BYTES_MAX)),
            encoding: encoding(set("encoding"), set("encoding_errors"))?,
            encodes_mixed: match params.get("on_mixed_types") {
                None => true,
                Some(value) => value.as_str() == Some("use_json"),
            },
        })
    }
}

fn encoding(
    name: Option<&Json>,
    on_invalid: Option<&Json>,
) -> Result<Option<(Encoding, OnInvalid)>, FormatError> {
    let Some(name) = name.and_then(Json::as_str).filter(|name| *name != "utf-8") else { return Ok(None) };
    let on_invalid = on_invalid.and_then(Json::as_str).unwrap_or("strict");
    Ok(Some((Encoding::named(name)?, OnInvalid::named(on_invalid)?)))
}

/// The file's text as UTF-8, decompressed.
pub(super) fn open_text(file: &DataFile, options: &Options) -> Result<Box<dyn Read + Send>, FormatError> {
    let input = open_extracted(file)?;
    Ok(match options.encoding {
        None => input,
        Some((encoding, on_invalid)) => {
            Box::new(Decoded { decoder: Decoder::new(input, encoding, on_invalid), block: Vec::new(), at: 0 })
        }
    })
}

/// A decoder as a stream.
struct Decoded {
    decoder: Decoder,
    block: Vec<u8>,
    at: usize,
}

impl Read for Decoded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.block.len() {
            self.block.clear();
            self.at = 0;
            self.decoder.next_block(&mut self.block)?;
        }
        let count = (&self.block[self.at..]).read(buffer)?;
        self.at += count;
        Ok(count)
    }
}
