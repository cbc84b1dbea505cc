//! Formats of audio and video files: which are kept as they are, and under which name.
//!
//! Owns the tables of http-api.md section 6.2. Refuses to decode audio: other formats than those that browsers play
//! are refused with what to do. Nothing that a header claims is believed: files are copied.

use super::file_name::extension;

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

/// Why a file of another format is refused.
pub(super) fn unsupported(path: Option<&str>) -> String {
    let format = match path.and_then(extension) {
        Some(extension) => format!("audio of the format '.{}'", extension.to_ascii_lowercase()),
        None => "audio of an unknown format".to_owned(),
    };
    format!("it holds {format}, which is not converted here; store the files as WAV, MP3, Opus or FLAC")
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
