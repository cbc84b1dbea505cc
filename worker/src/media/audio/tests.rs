//! Which audio is copied, which converted, and into what.

use std::time::{Duration, Instant};

use bytes::Bytes;
use outpost_loading::JobGuard;
use outpost_model::limits::{AUDIO_DECODED_BYTES_MAX, AUDIO_DURATION_S_MAX};

use super::*;
use crate::media::MediaError;

/// A second of a sine of 440 Hz.
const VORBIS: &[u8] = include_bytes!("../../../../examples/hub/outpost/tones/data/sine.ogg");
const FLAC: &[u8] = include_bytes!("../../../../examples/hub/outpost/tones/data/sweep.flac");

#[test]
fn formats_are_known_by_their_first_bytes() {
    let mut opus = b"OggS".to_vec();
    opus.resize(28, 0);
    let vorbis = [&opus[..], b"\x01vorbis"].concat();
    opus.extend_from_slice(b"OpusHead");
    for (bytes, format) in [
        (&b"RIFF\xff\xff\xff\xffWAVEfmt "[..], Some(AudioFormat::Wav)),
        (b"RIFF\0\0\0\0AVI ", None),
        (b"\xff\xfb\x90", Some(AudioFormat::Mp3)),
        (b"\xff\xf1", None),
        (b"ID3\x04", Some(AudioFormat::Mp3)),
        (b"fLaC", Some(AudioFormat::Flac)),
        (&opus, Some(AudioFormat::Opus)),
        (&vorbis, None),
        (b"", None),
    ] {
        assert_eq!(AudioFormat::of_bytes(bytes), format, "{bytes:?}");
    }
}

#[test]
fn videos_keep_the_extension_of_their_path() {
    assert_eq!(video_extension(Some("a/b.MP4"), b""), "MP4");
    assert_eq!(video_extension(Some("a/b"), b"fLaC"), "flac");
    assert_eq!(video_extension(None, b"\0\0\0\x18ftypmp42"), "unknown");
    assert_eq!(video_content_type("MP4"), "video/mp4");
    assert_eq!(video_content_type("html"), "application/octet-stream");
}

const RATE: u32 = 8_000;

/// The ten bytes that AIFF writes a rate in.
fn extended(rate: u32) -> [u8; 10] {
    let mut bytes = [0; 10];
    if rate > 0 {
        let top = 31 - rate.leading_zeros();
        bytes[..2].copy_from_slice(&(16_383 + top as u16).to_be_bytes());
        bytes[2..].copy_from_slice(&(u64::from(rate) << (63 - top)).to_be_bytes());
    }
    bytes
}

/// What the headers of an AIFF file claim.
struct Aiff {
    channels: u16,
    frames: u32,
    bits: u16,
    rate: u32,
    data_bytes: u32,
}

impl Aiff {
    fn honest(channels: u16, rate: u32, data: &[u8]) -> Self {
        let data_bytes = data.len() as u32;
        Self { channels, frames: data_bytes / 2 / u32::from(channels), bits: 16, rate, data_bytes }
    }

    fn file(&self, data: &[u8]) -> Bytes {
        let mut file = b"FORM".to_vec();
        file.extend_from_slice(&self.data_bytes.saturating_add(46).to_be_bytes());
        file.extend_from_slice(b"AIFFCOMM\0\0\0\x12");
        file.extend_from_slice(&self.channels.to_be_bytes());
        file.extend_from_slice(&self.frames.to_be_bytes());
        file.extend_from_slice(&self.bits.to_be_bytes());
        file.extend_from_slice(&extended(self.rate));
        file.extend_from_slice(b"SSND");
        file.extend_from_slice(&self.data_bytes.saturating_add(8).to_be_bytes());
        file.extend_from_slice(&[0; 8]);
        file.extend_from_slice(data);
        file.into()
    }
}

fn guard() -> JobGuard {
    JobGuard::new(Instant::now() + Duration::from_secs(600))
}

fn converted(file: &[u8], extension: &str) -> Result<Vec<u8>, String> {
    within(file, extension, AUDIO_DECODED_BYTES_MAX)
}

fn within(file: &[u8], extension: &str, bytes_max: u64) -> Result<Vec<u8>, String> {
    let wav = to_wav(Bytes::copy_from_slice(file), Some(extension), bytes_max, &guard());
    wav.map_err(|error| match error {
        MediaError::Cell(reason) => reason,
        other => panic!("not about the file: {other:?}"),
    })
}

/// Channels, rate and samples of a plain WAV file.
fn parts(wav: &[u8]) -> (u16, u32, Vec<i16>) {
    assert_eq!((&wav[..4], &wav[8..16], &wav[36..40]), (&b"RIFF"[..], &b"WAVEfmt "[..], &b"data"[..]));
    let length = u32::from_le_bytes(wav[40..44].try_into().unwrap());
    assert_eq!(length as usize, wav.len() - 44);
    let samples = wav[44..].chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]]));
    let rate = u32::from_le_bytes(wav[24..28].try_into().unwrap());
    (u16::from_le_bytes([wav[22], wav[23]]), rate, samples.collect())
}

#[test]
fn the_extension_of_a_path_decides_before_the_bytes() {
    let mut opus = b"OggS".to_vec();
    opus.resize(28, 0);
    opus.extend_from_slice(b"OpusHead");
    for (path, bytes, treatment) in [
        (Some("a.MP3"), &b"fLaC"[..], Treatment::Copied(AudioFormat::Mp3)),
        (Some("a"), b"fLaC", Treatment::Copied(AudioFormat::Flac)),
        (None, b"ID3", Treatment::Copied(AudioFormat::Mp3)),
        (Some("a.ogg"), b"fLaC", Treatment::Converted),
        (Some("a.ogg"), &opus, Treatment::Copied(AudioFormat::Opus)),
        (Some("a.aiff::zip://x.wav"), b"FORM", Treatment::Converted),
        (None, b"FORM", Treatment::Converted),
    ] {
        assert_eq!(Treatment::of(path, bytes), treatment, "{path:?}");
    }
}

#[test]
fn samples_channels_and_rate_survive_the_conversion() {
    let samples: Vec<i16> = vec![0, 1, -1, 256, i16::MAX, i16::MIN];
    let data: Vec<u8> = samples.iter().flat_map(|sample| sample.to_be_bytes()).collect();
    for channels in [1, 2] {
        let wav = converted(&Aiff::honest(channels, RATE, &data).file(&data), "aiff").unwrap();
        assert_eq!(parts(&wav), (channels, RATE, samples.clone()));
    }
    let six = converted(&Aiff::honest(6, RATE, &data).file(&data), "aiff").unwrap();
    assert_eq!((&six[20..24], &six[68..70]), (&b"\xfe\xff\x06\0"[..], &b"\0\0"[..]));
}

#[test]
fn vorbis_becomes_the_sound_that_it_holds() {
    let (channels, rate, samples) = parts(&converted(VORBIS, "ogg").unwrap());
    assert_eq!((channels, rate, samples.len()), (1, RATE, 8_000));
    // The file is a sine of 440 Hz at half of the range; what is left of it must be small.
    let step = std::f64::consts::TAU * 440.0 / f64::from(RATE);
    let wrong = samples.iter().enumerate().skip(400).take(7_000).map(|(at, sample)| {
        let expected = 16_384.0 * (step * at as f64).sin();
        (f64::from(*sample) - expected).abs()
    });
    assert!(wrong.fold(0.0, f64::max) < 1_000.0, "a tenth of a percent of the power");
}

#[test]
fn lengths_that_lie_and_files_cut_short_are_told() {
    let data = [7; 4_000];
    let claims = Aiff { frames: 1 << 29, data_bytes: 1 << 30, ..Aiff::honest(1, RATE, &data) };
    let refusal = converted(&claims.file(&data), "aiff").unwrap_err();
    assert!(refusal.contains("unexpected end of file"), "{refusal}");
    let refusal = converted(&VORBIS[..VORBIS.len() - 100], "ogg").unwrap_err();
    assert!(refusal.contains("unexpected end of file"), "{refusal}");
}

#[test]
fn claims_beyond_reason_are_refused_by_their_limit() {
    let data = [0; 64];
    let honest = || Aiff::honest(1, RATE, &data);
    for (claims, reason) in [
        (Aiff { channels: 0, ..honest() }, "audio"),
        (Aiff { channels: 65_535, ..honest() }, "audio"),
        (Aiff { channels: 40, ..honest() }, "40 channels"),
        (Aiff { rate: 1 << 31, ..honest() }, "2147483648 samples a second"),
        (Aiff { rate: 0, ..honest() }, "audio"),
        (Aiff { bits: 0, ..honest() }, "audio"),
    ] {
        let refusal = converted(&claims.file(&data), "aiff").unwrap_err();
        assert!(refusal.contains(reason), "{refusal}");
    }
}

#[test]
fn long_audio_is_refused_with_the_limit() {
    let data = vec![0; 2 * (AUDIO_DURATION_S_MAX as usize + 2)];
    let refusal = converted(&Aiff::honest(1, 1, &data).file(&data), "aiff").unwrap_err();
    assert!(refusal.contains(&format!("limit of {AUDIO_DURATION_S_MAX} seconds")), "{refusal}");
    assert!(within(VORBIS, "ogg", 16_044).is_ok());
    let refusal = within(VORBIS, "ogg", 16_043).unwrap_err();
    assert!(refusal.contains("limit of 16043 bytes"), "{refusal}");
}

#[test]
fn what_no_decoder_knows_is_refused_with_what_to_do() {
    for file in [&b""[..], b"OggS", b"\0\0\0\0\0\0\0\0", &[0xff; 3_000]] {
        let refusal = converted(file, "XYZ").unwrap_err();
        assert!(refusal.contains("store the files as WAV"), "{refusal}");
    }
}

#[test]
fn a_stopped_job_does_not_go_on_converting() {
    let stopped = to_wav(Bytes::from_static(VORBIS), Some("ogg"), 1, &JobGuard::new(Instant::now()));
    assert!(matches!(stopped, Err(MediaError::Stopped)));
}

#[test]
fn damage_anywhere_is_an_error_or_a_shorter_sound() {
    let data = [3; 600];
    let aiff = Aiff::honest(2, RATE, &data).file(&data);
    let files: [(&[u8], &str); 3] = [(VORBIS, "ogg"), (FLAC, "ogg"), (&aiff, "aiff")];
    let mut random = fastrand::Rng::with_seed(7);
    for (file, extension) in files {
        for _ in 0..300 {
            let mut damaged = file.to_vec();
            for _ in 0..random.usize(1..8) {
                // Headers are where damage does most.
                let end = if random.bool() { damaged.len().min(128) } else { damaged.len() };
                let at = random.usize(..end);
                damaged[at] = *random.choice(&[0, 1, 0x7f, 0x80, 0xff]).unwrap();
            }
            if let Ok(wav) = converted(&damaged, extension) {
                assert!(wav.len() as u64 <= AUDIO_DECODED_BYTES_MAX);
            }
        }
    }
}
