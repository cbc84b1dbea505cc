"""Writes the sounds of this dataset. Needs `numpy` and `soundfile`."""

from pathlib import Path

import numpy as np
import soundfile

RATE = 8_000
DATA = Path(__file__).parent / "data"


def seconds(count):
    return np.arange(int(count * RATE)) / RATE


def main():
    DATA.mkdir(exist_ok=True)
    time = seconds(1)
    sine = 0.5 * np.sin(2 * np.pi * 440 * time)
    soundfile.write(DATA / "sine.ogg", sine, RATE, format="OGG", subtype="VORBIS")
    sweep = 0.5 * np.sin(2 * np.pi * (200 * time + 400 * time**2))
    soundfile.write(DATA / "sweep.flac", sweep, RATE, subtype="PCM_16")
    time = seconds(1.5)
    # Three notes, each fading away.
    notes = [(0.0, 523.25), (0.4, 659.25), (0.8, 783.99)]
    chord = sum(
        0.25 * (time >= start) * np.exp(-4 * np.clip(time - start, 0, None)) * np.sin(2 * np.pi * pitch * time)
        for start, pitch in notes
    )
    soundfile.write(DATA / "chord.wav", chord, RATE, subtype="PCM_16")


if __name__ == "__main__":
    main()
