"""What a reader must say of records that it could read, but perhaps not as they were meant."""

from __future__ import annotations

from collections.abc import Mapping

ALPHA = "mask_in_alpha"
CAPTION = "caption_in_json"
CLASSES = "class_numbers"
COLOUR_PROFILE = "colour_profile"
FAINT = "faint_mask"
FRAMES = "several_frames"
GREY = "no_white_in_mask"
NOTHING = "nothing_to_generate"
SCALE = "mask_scale"
TWO_VALUES = "mask_of_two_values"

# What is said of each, after the number of records.
NOTES = {
    NOTHING: "the mask is black: nothing is generated",
    TWO_VALUES: "mask of 0 and 1, of two palette entries, or of black and one colour: "
    "the larger, or the colour, is taken as white (generate)",
    ALPHA: "mask in the alpha channel: opaque is taken as white (generate)",
    SCALE: "16-bit mask with values up to 255: read as 8-bit",
    FAINT: "no value of the mask is above 31 of 255: next to nothing is generated; class numbers?",
    CLASSES: "white beside values up to 31 and no greys between: class numbers? only what is white is generated",
    GREY: "the brightest of the mask is grey, so it counts in part: what is there shows through",
    COLOUR_PROFILE: "the picture's colour profile is applied: it is converted to sRGB",
    CAPTION: "a caption in KEY.json and no KEY.txt: the prompt is empty",
    FRAMES: "the picture is an animation or has several pages: the first is taken",
}


def notes_for(notes: tuple[str, ...], needs_mask: bool) -> tuple[str, ...]:
    """The notes that concern a task: where it can do without a mask, a black one is as good as any."""
    return tuple(code for code in notes if needs_mask or code != NOTHING)


def note_lines(counts: Mapping[str, int]) -> list[str]:
    """One line for each kind of note, with the number of its records."""
    known = [*NOTES, *sorted(set(counts) - set(NOTES))]
    return [
        f"{code}: {counts[code]} {'record' if counts[code] == 1 else 'records'}: {NOTES.get(code, code)}"
        for code in known
        if counts.get(code)
    ]
