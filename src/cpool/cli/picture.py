"""Pictures of rectangles and words, as SVG by ourselves and as PNG through Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from xml.sax.saxutils import escape

from . import files, images
from .errors import Failure

Anchor = Literal["start", "middle", "end"]

# fill by kind, on light and on dark ground
COLOURS = {
    "ground": ("#ffffff", "#16191d"),
    "text": ("#1c2126", "#e3e7eb"),
    "faint": ("#68727c", "#98a2ac"),
    "cell": ("#e6eaee", "#2b3138"),
    "own": ("#2f6fae", "#5b9bd8"),
    "shared": ("#e08a1e", "#f0a848"),
    "wrong": ("#c2362f", "#ec6a62"),
    "right": ("#2c8a4b", "#55b877"),
}
SIZE = 13  # of letters
SCALE = 2  # pixels of a PNG for each of SVG's


@dataclass(frozen=True)
class Box:
    """A rectangle."""

    x: float
    y: float
    width: float
    height: float
    kind: str


@dataclass(frozen=True)
class Word:
    """A line of text, whose baseline is at y."""

    x: float
    y: float
    text: str
    kind: str = "text"
    anchor: Anchor = "start"


@dataclass(frozen=True)
class Drawing:
    """What is drawn, and on how much room."""

    width: float
    height: float
    shapes: Sequence[Box | Word]
    title: str

    def svg(self) -> str:
        """As SVG, for light and for dark pages."""
        rules = [f".{kind}{{fill:{light}}}" for kind, (light, _) in COLOURS.items()]
        dark = [f".{kind}{{fill:{dark}}}" for kind, (_, dark) in COLOURS.items()]
        style = f"text{{font:{SIZE}px ui-sans-serif,system-ui,sans-serif;white-space:pre}}{''.join(rules)}"
        style += f"@media (prefers-color-scheme:dark){{{''.join(dark)}}}"
        size = f"{self.width:g} {self.height:g}"
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" width="{self.width:g}" role="img">'
        ground = Box(0, 0, self.width, self.height, "ground")
        body = [_element(shape) for shape in (ground, *self.shapes)]
        return "\n".join([head, f"<title>{escape(self.title)}</title>", f"<style>{style}</style>", *body, "</svg>", ""])

    def image(self, path: Path) -> Any:
        """As an image of Pillow's, for light pages."""
        images.pillow(path)
        from PIL import Image, ImageDraw, ImageFont

        made = Image.new("RGB", (round(self.width * SCALE), round(self.height * SCALE)), COLOURS["ground"][0])
        draw = ImageDraw.Draw(made)
        font = ImageFont.load_default(SIZE * SCALE)
        for shape in self.shapes:
            colour = COLOURS[shape.kind][0]
            x, y = shape.x * SCALE, shape.y * SCALE
            if isinstance(shape, Box):
                # both corners are drawn
                draw.rectangle((x, y, x + shape.width * SCALE - 1, y + shape.height * SCALE - 1), fill=colour)
            else:
                anchor = {"start": "ls", "middle": "ms", "end": "rs"}[shape.anchor]
                draw.text((x, y), shape.text, fill=colour, font=font, anchor=anchor)
        return made


def _element(shape: Box | Word) -> str:
    at = f'x="{shape.x:g}" y="{shape.y:g}" class="{shape.kind}"'
    if isinstance(shape, Box):
        return f'<rect {at} width="{shape.width:g}" height="{shape.height:g}" rx="1"/>'
    anchor = "" if shape.anchor == "start" else f' text-anchor="{shape.anchor}"'
    return f"<text {at}{anchor}>{escape(shape.text)}</text>"


def check(path: Path, force: bool) -> None:
    """Refuse a name that no picture can have, before there is one."""
    if path.suffix.lower() not in (".svg", ".png"):
        raise Failure(f"{path}: a picture is .svg or .png")
    if path.suffix.lower() == ".png":
        images.pillow(path)
    files.check_output(path, force)


def save(drawing: Drawing, path: Path, force: bool) -> None:
    """Write the picture; it appears whole or not at all."""
    with files.whole(path, force) as file:
        if path.suffix.lower() == ".svg":
            file.write(drawing.svg().encode())
        else:
            drawing.image(path).save(file, format="PNG")
