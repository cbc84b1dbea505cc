//! Formats of audio and video files: which are kept as they are and under which name, and which become WAV.
//!
//! Owns the tables of http-api.md section 6.2. Files in the formats that browsers play are copied, whatever their
//! headers claim; other audio is converted within bounds, and refused with what to do where no decoder knows it.

mod convert;
#[cfg(test)]
mod tests;
mod wav;

pub(super) use self::convert::to_wav;
use super::file_name::extension;

/// What to do about audio that cannot be converted.
const ADVICE: &str = "store the files as WAV, MP3, Opus or FLAC";

/// An audio format that browsers play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AudioFormat {
    Wav,
    Mp3,
    Opus,
    Flac,
}

impl AudioFormat {
    /// By the extension of a path.
    pub(super) fn of_path(path: &str) -> Option<Self> {
        match extension(path)?.to_ascii_lowercase().as_str() {
            "wav" => Some(Self::Wav),
            "mp3" => Some(Self::Mp3),
            "opus" => Some(Self::Opus),
            "flac" => Some(Self::Flac),
            _ => None,
        }
    }

    /// By the first bytes of a file.
    pub(super) fn of_bytes(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => Some(Self::Wav),
            [0xff, 0xfb | 0xf3 | 0xf2, ..] | [b'I', b'D', b'3', ..] => Some(Self::Mp3),
            [b'f', b'L', b'a', b'C', ..] => Some(Self::Flac),
            // The first page of an Ogg file that has one segment: 28 bytes, then the codec's own header.
            [b'O', b'g', b'g', b'S', ..]
                if bytes.get(28..).is_some_and(|rest| rest.starts_with(b"OpusHead")) =>
            {
                Some(Self::Opus)
            }
            _ => None,
        }
    }

    pub(super) fn extension(self) -> &'static str {
        match self {
            Self::Wav => "wav",
            Self::Mp3 => "mp3",
            Self::Opus => "opus",
            Self::Flac => "flac",
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Wav => "audio/wav",
            Self::Mp3 => "audio/mpeg",
            Self::Opus => "audio/ogg",
            Self::Flac => "audio/flac",
        }
    }
}

/// What becomes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Treatment {
    /// It is kept as it is.
    Copied(AudioFormat),
    /// It is written anew as WAV.
    Converted,
}

impl Treatment {
    /// By the extension of its path, else by its first bytes. Opus is kept under any name: no decoder here knows it.
    pub(super) fn of(path: Option<&str>, bytes: &[u8]) -> Self {
        let by_bytes = AudioFormat::of_bytes(bytes);
        match path.and_then(|path| extension(path).map(|_| AudioFormat::of_path(path))) {
            Some(Some(format)) => Self::Copied(format),
            Some(None) if by_bytes == Some(AudioFormat::Opus) => Self::Copied(AudioFormat::Opus),
            Some(None) => Self::Converted,
            None => by_bytes.map_or(Self::Converted, Self::Copied),
        }
    }
}

/// Why a file that no decoder knows is refused.
fn advice(extension: Option<&str>) -> String {
    let format = match extension {
        Some(extension) => format!("audio of the format '.{}'", extension.to_ascii_lowercase()),
        None => "audio of an unknown format".to_owned(),
    };
    format!("it holds {format} in a coding that is not converted here; {ADVICE}")
}

/// The extension of a video's asset: that of its path, else by its first bytes, for which the original knows audio only.
pub(super) fn video_extension(path: Option<&str>, bytes: &[u8]) -> String {
    match (path.and_then(extension), AudioFormat::of_bytes(bytes)) {
        (Some(extension), _) => extension.to_owned(),
        (None, Some(format)) => format.extension().to_owned(),
        (None, None) => "unknown".to_owned(),
    }
}

/// The type that a video is served as. Names that are not those of videos get a type that no browser opens.
pub(super) fn video_content_type(extension: &str) -> &'static str {
    match extension.to_ascii_lowercase().as_str() {
        "mp4" | "m4v" => "video/mp4",
        "webm" => "video/webm",
        "mkv" => "video/x-matroska",
        "mov" => "video/quicktime",
        "avi" => "video/x-msvideo",
        "mpg" | "mpeg" => "video/mpeg",
        "ogv" => "video/ogg",
        _ => "application/octet-stream",
    }
}
