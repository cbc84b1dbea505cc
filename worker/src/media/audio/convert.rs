//! Audio that browsers do not play, as WAV (worker-and-store.md section 5.5): 16-bit samples, rate and channels kept.
//!
//! Owns the bounds around the decoders: what a file claims is checked before anything is allocated from it, what comes
//! out is counted while it comes, and a panic in a decoder is an error of the file. Packets that are damaged are left
//! out, as players do; a file without a readable one is refused. Refuses with part of a sentence.

use std::io::{Cursor, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use outpost_loading::JobGuard;
use outpost_model::limits::{
    AUDIO_CHANNELS_MAX, AUDIO_DURATION_S_MAX, AUDIO_PACKET_SAMPLES_MAX, AUDIO_SAMPLE_RATE_MAX,
};
use symphonia::core::audio::{Channels, GenericAudioBufferRef};
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::MetadataOptions;
use symphonia::default::{get_codecs, get_probe};

use super::{advice, wav};
use crate::media::MediaError;

/// The file as WAV of up to `bytes_max`, which is the memory that it takes beside the file.
///
/// # Errors
/// Why it cannot be converted, as part of a sentence, or that the job must stop.
pub(in crate::media) fn to_wav(
    file: Bytes,
    extension: Option<&str>,
    bytes_max: u64,
    guard: &JobGuard,
) -> Result<Vec<u8>, MediaError> {
    let output = Output { bytes_max, spec: None, samples: Vec::new(), file: Vec::new() };
    let converted = catch_unwind(AssertUnwindSafe(|| convert(file, extension, output, guard)));
    converted.unwrap_or_else(|_| Err("its audio is damaged: the decoder gave up on it".to_owned().into()))
}

fn convert(
    file: Bytes,
    extension: Option<&str>,
    mut output: Output,
    guard: &JobGuard,
) -> Result<Vec<u8>, MediaError> {
    let mut hint = Hint::new();
    if let Some(extension) = extension {
        hint.with_extension(extension);
    }
    let stream = MediaSourceStream::new(Box::new(Cursor::new(file)), MediaSourceStreamOptions::default());
    let mut format = get_probe()
        .probe(&hint, stream, FormatOptions::default(), MetadataOptions::default())
        .map_err(|error| match error {
        Error::Unsupported(_) => advice(extension),
        error => format!("its audio cannot be read: {error}; {}", super::ADVICE),
    })?;
    // A stream may be several, one behind the other.
    while decode_tracks(&mut *format, &mut output, extension, guard)? {}
    output.finish()
}

/// Decodes until the end, or until the tracks change: then it is true.
fn decode_tracks(
    format: &mut dyn FormatReader,
    output: &mut Output,
    extension: Option<&str>,
    guard: &JobGuard,
) -> Result<bool, MediaError> {
    let (track_id, mut decoder) = decoder(format, extension)?;
    loop {
        if guard.must_stop() {
            return Err(MediaError::Stopped);
        }
        let packet = match format.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => return Ok(false),
            Err(Error::ResetRequired) => return Ok(true),
            // A file that was cut short is played as far as it goes.
            Err(Error::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(damaged(&error)),
        };
        if packet.track_id != track_id {
            continue;
        }
        match decoder.decode(&packet) {
            Ok(samples) => output.push(&samples)?,
            Err(Error::DecodeError(_) | Error::IoError(_)) => {}
            Err(error) => return Err(damaged(&error)),
        }
    }
}

fn decoder(
    format: &dyn FormatReader,
    extension: Option<&str>,
) -> Result<(u32, Box<dyn AudioDecoder>), MediaError> {
    let track = format.default_track(TrackType::Audio);
    let parameters = track.and_then(|track| Some((track.id, track.codec_params.as_ref()?.audio()?)));
    let (track_id, parameters) =
        parameters.ok_or_else(|| MediaError::Cell("its file holds no audio".to_owned()))?;
    check_claims(parameters)?;
    let decoder = get_codecs().make_audio_decoder(parameters, &AudioDecoderOptions::default());
    let decoder = decoder.map_err(|error| match error {
        Error::Unsupported(_) => advice(extension).into(),
        error => damaged(&error),
    })?;
    Ok((track_id, decoder))
}

/// Refuses what decoders would allocate from.
fn check_claims(parameters: &AudioCodecParameters) -> Result<(), String> {
    let channels = parameters.channels.as_ref().map(Channels::count);
    let rate = parameters.sample_rate;
    if let (Some(channels), Some(rate)) = (channels, rate) {
        check_spec(channels, rate)?;
    } else if let Some(channels) = channels {
        check_spec(channels, 1)?;
    }
    let samples = parameters
        .max_frames_per_packet
        .or(parameters.frames_per_block)
        .unwrap_or(0)
        .saturating_mul(channels.unwrap_or(AUDIO_CHANNELS_MAX) as u64);
    if samples > AUDIO_PACKET_SAMPLES_MAX {
        return Err(format!(
            "its audio claims {samples} samples in a packet, more than the limit of {AUDIO_PACKET_SAMPLES_MAX}"
        ));
    }
    Ok(())
}

fn check_spec(channels: usize, rate: u32) -> Result<(), String> {
    if channels == 0 || channels > AUDIO_CHANNELS_MAX {
        return Err(format!("its audio claims {channels} channels; 1 to {AUDIO_CHANNELS_MAX} are converted"));
    }
    if rate == 0 || rate > AUDIO_SAMPLE_RATE_MAX {
        return Err(format!(
            "its audio claims {rate} samples a second; 1 to {AUDIO_SAMPLE_RATE_MAX} are converted"
        ));
    }
    Ok(())
}

/// What was decoded so far.
struct Output {
    /// The longest file.
    bytes_max: u64,
    /// Channels and rate, once a packet told them.
    spec: Option<(u16, u32)>,
    /// Samples of one packet, channels interleaved.
    samples: Vec<i16>,
    /// Room for the header, then the samples.
    file: Vec<u8>,
}

impl Output {
    fn push(&mut self, decoded: &GenericAudioBufferRef<'_>) -> Result<(), String> {
        if decoded.frames() == 0 {
            return Ok(());
        }
        let (channels, rate) = self.check(decoded)?;
        decoded.copy_to_vec_interleaved(&mut self.samples);
        let bytes = self.file.len() + self.samples.len() * usize::from(wav::SAMPLE_BYTES);
        if bytes as u64 > self.bytes_max {
            return Err(format!(
                "its audio takes more than the limit of {} bytes as WAV; {}",
                self.bytes_max,
                super::ADVICE
            ));
        }
        let second_bytes = u64::from(rate) * u64::from(channels) * u64::from(wav::SAMPLE_BYTES);
        if bytes as u64 / second_bytes > AUDIO_DURATION_S_MAX {
            return Err(format!(
                "its audio is longer than the limit of {AUDIO_DURATION_S_MAX} seconds; {}",
                super::ADVICE
            ));
        }
        self.file.extend(self.samples.iter().flat_map(|sample| sample.to_le_bytes()));
        Ok(())
    }

    /// Channels and rate, which stay those of the first packet.
    fn check(&mut self, decoded: &GenericAudioBufferRef<'_>) -> Result<(u16, u32), String> {
        let (channels, rate) = (decoded.spec().channels().count(), decoded.spec().rate());
        let spec = (channels.try_into().unwrap_or(u16::MAX), rate);
        match self.spec {
            Some(known) if known == spec => Ok(spec),
            Some(_) => Err("its audio changes its channels or its rate on the way".to_owned()),
            None => {
                check_spec(channels, rate)?;
                self.spec = Some(spec);
                self.file.resize(wav::header_bytes(spec.0), 0);
                Ok(spec)
            }
        }
    }

    fn finish(mut self) -> Result<Vec<u8>, MediaError> {
        let (channels, rate) = self
            .spec
            .ok_or_else(|| MediaError::Cell("its file holds no audio that can be read".to_owned()))?;
        let header_bytes = wav::header_bytes(channels);
        let data_bytes = u32::try_from(self.file.len() - header_bytes).unwrap_or(u32::MAX);
        self.file[..header_bytes].copy_from_slice(&wav::header(channels, rate, data_bytes));
        self.file.shrink_to_fit();
        Ok(self.file)
    }
}

fn damaged(error: &Error) -> MediaError {
    MediaError::Cell(format!("its audio cannot be read: {error}"))
}
