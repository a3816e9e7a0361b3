"""Draw a small dataset of house fronts, so that training can be tried without a download.

    python datasets/make_demo_dataset.py                    # label map | photo pairs, for pix2pix
    python datasets/make_demo_dataset.py --kind unpaired    # day and night, for CycleGAN
    python datasets/make_demo_dataset.py --kind domains     # one folder per style

A `Scene` is drawn from (seed, folder, number), `layout` turns it into labelled shapes, and
`render_labels` and `render` colour those shapes. The colours live in tables: `LABELS` (what is
where), `SCHEMES` (paint and materials of a house) and `STYLES` (time of day and weather). A new
style is one entry of `STYLES`; `--domains` offers it at once.
"""

import argparse
import math
import os
import random
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from util.base.errors import run_command

Color = tuple[int, int, int]
Factors = tuple[float, float, float]  # multiply red, green, blue
Points = tuple[tuple[float, float], ...]
Pixels = NDArray[np.float32]
Labels = NDArray[np.uint8]  # (h, w), indices into LABELS

PHASES = ("train", "val", "test")
LARGEST = 2048  # sides of an image; drawing takes 100 bytes for each pixel
UNPAIRED_STYLES = {"A": "day", "B": "night"}


class Label(NamedTuple):
    """Flat colour in the label map, and how far the part stands out, in 1/256 of the image."""

    color: Color
    relief: int


# Every scheme has a wall label of its own, so a label map tells the colours of its photo.
LABELS = {
    "sky": Label((0, 0, 170), 0),
    "neighbour_grey": Label((0, 0, 90), 3),
    "neighbour_tan": Label((50, 0, 90), 3),
    "wall_brick": Label((0, 0, 255), 5),
    "wall_ochre": Label((70, 0, 255), 5),
    "wall_rose": Label((140, 0, 255), 5),
    "wall_stone": Label((140, 140, 255), 5),
    "wall_sage": Label((70, 70, 200), 5),
    "window": Label((0, 85, 255), 3),
    "door": Label((0, 170, 255), 3),
    "cornice": Label((0, 255, 255), 8),
    "sill": Label((85, 255, 170), 7),
    "balcony": Label((170, 255, 85), 9),
    "shutter": Label((255, 255, 0), 6),
    "awning": Label((255, 170, 0), 11),
    "molding": Label((255, 85, 0), 6),
    "pillar": Label((255, 0, 0), 7),
    "shop": Label((170, 0, 0), 3),
    "roof_tile": Label((200, 0, 100), 4),
    "roof_slate": Label((120, 0, 120), 4),
    "chimney": Label((220, 60, 160), 5),
    "tree": Label((0, 140, 60), 12),
    "trunk": Label((90, 60, 0), 9),
    "lamp": Label((255, 255, 255), 9),
    "pavement": Label((128, 128, 128), 1),
    "road": Label((64, 64, 64), 0),
}
NEIGHBOURS = ("neighbour_grey", "neighbour_tan")
CODES = {name: code for code, name in enumerate(LABELS)}


@dataclass(frozen=True)
class Scheme:
    """Paint and materials of one kind of house; its wall label is `wall_<name>`."""

    wall: Color
    trim: Color
    shutter: Color
    door: Color
    awning: Color


SCHEMES = {
    "brick": Scheme((172, 92, 72), (234, 226, 210), (52, 74, 66), (38, 68, 62), (60, 112, 92)),
    "ochre": Scheme((228, 184, 108), (246, 238, 220), (78, 112, 86), (112, 68, 44), (188, 74, 54)),
    "rose": Scheme((224, 164, 150), (248, 238, 230), (108, 118, 136), (84, 62, 88), (120, 76, 104)),
    "stone": Scheme((204, 196, 178), (228, 222, 206), (70, 92, 126), (46, 70, 108), (52, 84, 138)),
    "sage": Scheme((160, 184, 164), (244, 242, 232), (222, 214, 192), (146, 62, 50), (204, 138, 6)),
}

# Colours that do not depend on the scheme.
PAINT: dict[str, Color] = {
    "neighbour_grey": (172, 174, 180),
    "neighbour_tan": (200, 178, 150),
    "roof_tile": (176, 92, 64),
    "roof_slate": (94, 102, 120),
    "chimney": (158, 98, 80),
    "trunk": (98, 78, 62),
    "lamp": (48, 52, 56),
    "pavement": (186, 180, 170),
    "road": (106, 106, 112),
}


@dataclass(frozen=True)
class Style:
    """Time of day and weather: everything that changes a photo but not its label map."""

    sky: tuple[Color, Color]  # at the top, above the roofs
    cloud: Color
    light: Factors
    shadow: Factors  # of the light, inside a shadow
    glass: tuple[Color, Color]  # at the top and the bottom of a pane
    foliage: Color = (92, 138, 66)
    street_glow: Factors = (0.0, 0.0, 0.0)  # lamplight at street level
    lit: float = 0.0  # share of windows with light behind them
    stars: int = 0
    snow: float = 0.0


STYLES = {
    "day": Style(
        sky=((92, 152, 220), (206, 228, 244)),
        cloud=(255, 255, 255),
        light=(1.03, 1.01, 0.97),
        shadow=(0.60, 0.64, 0.74),
        glass=((168, 200, 226), (62, 84, 106)),
    ),
    "dusk": Style(
        sky=((84, 86, 150), (252, 176, 120)),
        cloud=(250, 150, 130),
        light=(1.04, 0.78, 0.64),
        shadow=(0.58, 0.56, 0.74),
        glass=((250, 190, 140), (84, 66, 96)),
        street_glow=(0.10, 0.06, 0.02),
        lit=0.25,
    ),
    "night": Style(
        sky=((10, 16, 44), (48, 62, 108)),
        cloud=(62, 72, 112),
        light=(0.27, 0.32, 0.50),
        shadow=(0.66, 0.66, 0.72),
        glass=((84, 102, 146), (34, 42, 70)),
        street_glow=(0.62, 0.42, 0.20),
        lit=0.6,
        stars=70,
    ),
    "winter": Style(
        sky=((176, 190, 206), (226, 232, 238)),
        cloud=(240, 243, 247),
        light=(0.90, 0.94, 1.00),
        shadow=(0.76, 0.79, 0.86),
        glass=((190, 204, 218), (84, 98, 116)),
        foliage=(124, 122, 110),
        lit=0.2,
        snow=1.0,
    ),
}


# --- scenes: what is drawn, in fractions of the image's side, y pointing down


@dataclass(frozen=True)
class Scene:
    """One street: a house, the walls beside it, trees and lamps."""

    seed: int  # of clouds, lit windows and grain
    scheme: str
    floors: int
    columns: int
    left: float
    right: float
    eaves: float
    ground: float
    roof: str
    roof_cover: str
    roof_height: float
    chimneys: tuple[float, ...]
    door_column: int
    shops: bool
    window_width: float  # of its cell
    window_height: float
    arched: int  # floors with arched windows, counted from the street
    twin: bool
    hoods: bool
    shutters: bool
    pillars: str
    courses: bool
    balconies: frozenset[tuple[int, int]]  # (floor, column)
    neighbours: tuple[tuple[str, float], ...]  # (label, top), left and right
    trees: tuple[tuple[float, float], ...]  # (x, radius)
    lamps: tuple[float, ...]


def draw_scene(seed: int, folder: str, number: int) -> Scene:
    """Return scene `number` of a folder; other folders and numbers have other scenes."""
    rng = random.Random(f"{seed}/{folder}/{number}")  # a string seed does not depend on the process
    floors = rng.choice((2, 3, 3, 3, 4, 4, 5))
    ground = rng.uniform(0.86, 0.89)
    eaves = ground - min(0.68, floors * rng.uniform(0.165, 0.21))
    cell = (ground - eaves) / floors * rng.uniform(0.72, 0.98)
    columns = max(2, min(6, int(rng.uniform(0.58, 0.94) / cell)))
    width = max(0.48, min(0.9, columns * cell))
    left = (1 - width) * rng.uniform(0.3, 0.7)
    shutters = rng.random() < 0.35
    return Scene(
        seed=rng.getrandbits(32),
        scheme=rng.choice(sorted(SCHEMES)),
        floors=floors,
        columns=columns,
        left=left,
        right=left + width,
        eaves=eaves,
        ground=ground,
        roof=rng.choice(sorted(ROOFS)),
        roof_cover=rng.choice(("roof_tile", "roof_slate")),
        roof_height=min(eaves - 0.05, rng.uniform(0.10, 0.16)),
        chimneys=tuple(rng.uniform(0.12, 0.88) for _ in range(rng.randrange(3))),
        door_column=rng.choice((0, columns // 2, columns - 1)),
        shops=rng.random() < 0.4,
        window_width=rng.uniform(0.36, 0.42) if shutters else rng.uniform(0.42, 0.58),
        window_height=rng.uniform(0.52, 0.64),
        arched=rng.choice((0, 0, 1, 2, 9)),
        twin=not shutters and rng.random() < 0.25,
        hoods=rng.random() < 0.4,
        shutters=shutters,
        pillars=rng.choice(("none", "none", "corners", "corners", "all")),
        courses=rng.random() < 0.6,
        balconies=draw_balconies(rng, floors, columns),
        neighbours=tuple((rng.choice(NEIGHBOURS), rng.uniform(0.22, 0.62)) for _ in "LR"),
        trees=draw_trees(rng, left, left + width),
        lamps=tuple(
            left + rng.randrange(1, columns) / columns * width for _ in range(rng.choice((0, 1, 1)))
        ),
    )


def draw_balconies(rng: random.Random, floors: int, columns: int) -> frozenset[tuple[int, int]]:
    """Return the (floor, column) cells with a balcony: none, a column of them, or a floor."""
    kind = rng.choice(("none", "column", "sides", "floor"))
    column, floor = rng.randrange(columns), rng.randrange(1, floors)
    cells = {
        "none": [],
        "column": [(f, column) for f in range(1, floors)],
        "sides": [(f, c) for f in range(1, floors) for c in (0, columns - 1)],
        "floor": [(floor, c) for c in range(columns)],
    }
    return frozenset(cells[kind])


def draw_trees(rng: random.Random, left: float, right: float) -> tuple[tuple[float, float], ...]:
    """Return (x, radius) of the street trees, which keep to the sides of the house."""
    places = (rng.uniform(0.0, left), rng.uniform(right, 1.0))
    return tuple((x, rng.uniform(0.055, 0.095)) for x in places if rng.random() < 0.55)


# --- layout: a scene as labelled polygons, from back to front


class Shape(NamedTuple):
    """A polygon with a label."""

    label: str
    points: Points


class Box(NamedTuple):
    """An upright rectangle."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """Return the width."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Return the height."""
        return self.bottom - self.top

    def grown(self, x: float, y: float) -> "Box":
        """Return the box with `x` more at the left and right and `y` more above and below."""
        return Box(self.left - x, self.top - y, self.right + x, self.bottom + y)

    def part(self, left: float, top: float, right: float, bottom: float) -> "Box":
        """Return the part between fractions of the width and the height."""
        return Box(
            self.left + left * self.width,
            self.top + top * self.height,
            self.left + right * self.width,
            self.top + bottom * self.height,
        )

    def points(self) -> Points:
        """Return the corners."""
        return (
            (self.left, self.top),
            (self.right, self.top),
            (self.right, self.bottom),
            (self.left, self.bottom),
        )

    def arch(self) -> Points:
        """Return the outline of the box with a round top."""
        x, radius = (self.left + self.right) / 2, self.width / 2
        rise = min(radius, 0.6 * self.height)
        turns = [math.pi * step / 16 for step in range(17)]
        curve = [
            (x - radius * math.cos(turn), self.top + rise * (1 - math.sin(turn))) for turn in turns
        ]
        return (*curve, (self.right, self.bottom), (self.left, self.bottom))


def disk(x: float, y: float, radius: float) -> Points:
    """Return the outline of a disk."""
    turns = [2 * math.pi * step / 24 for step in range(24)]
    return tuple((x + radius * math.cos(turn), y + radius * math.sin(turn)) for turn in turns)


def bounds(points: Points) -> Box:
    """Return the box around some points."""
    xs, ys = zip(*points, strict=True)
    return Box(min(xs), min(ys), max(xs), max(ys))


def layout(scene: Scene) -> Iterator[Shape]:
    """Yield the shapes of a scene, those in front last."""
    yield Shape("sky", Box(0, 0, 1, 1).points())
    yield from neighbour_shapes(scene)
    for place in scene.chimneys:
        if scene.roof != "flat":
            yield from chimney_shapes(scene, place)
    yield from ROOFS[scene.roof](scene)
    yield from house_shapes(scene)
    for floor in range(scene.floors):
        for column in range(scene.columns):
            yield from cell_shapes(scene, floor, column)
    yield from street_shapes(scene)


def neighbour_shapes(scene: Scene) -> Iterator[Shape]:
    """Yield the plain walls at both sides, with windows where there is room."""
    sides = ((0.0, scene.left), (scene.right, 1.0))
    for (left, right), (label, top) in zip(sides, scene.neighbours, strict=True):
        wall = Box(left, top, right, scene.ground)
        yield Shape(label, wall.points())
        yield Shape("cornice", Box(left, top - 0.012, right, top + 0.012).points())
        columns = int(wall.width / 0.085)
        rows = max(1, int(wall.height / 0.16))
        for place in range(rows * columns):
            row, column = divmod(place, columns)
            cell = wall.part(column / columns, row / rows, (column + 1) / columns, (row + 1) / rows)
            yield Shape("window", cell.part(0.27, 0.25, 0.73, 0.75).points())


def chimney_shapes(scene: Scene, place: float) -> Iterator[Shape]:
    """Yield a chimney; the roof in front of it hides its foot."""
    x = scene.left + place * (scene.right - scene.left)
    # A gable is low at the sides, so its chimneys start lower too.
    slope = 1 - abs(2 * place - 1) if scene.roof in ("gable", "hip") else 1.0
    top = scene.eaves - scene.roof_height * (0.45 + 0.75 * slope)
    yield Shape("chimney", Box(x - 0.017, top, x + 0.017, scene.eaves).points())
    yield Shape("cornice", Box(x - 0.022, top - 0.01, x + 0.022, top).points())


def flat_roof(scene: Scene) -> Iterator[Shape]:
    """Yield a parapet."""
    parapet = Box(scene.left, scene.eaves - 0.045, scene.right, scene.eaves)
    yield Shape(f"wall_{scene.scheme}", parapet.points())
    yield Shape("cornice", Box(scene.left, parapet.top - 0.008, scene.right, parapet.top).points())
    for column in range(scene.columns + 1):
        x = scene.left + column / scene.columns * (scene.right - scene.left)
        yield Shape("pillar", Box(x - 0.011, parapet.top - 0.018, x + 0.011, scene.eaves).points())


def gable_roof(scene: Scene) -> Iterator[Shape]:
    """Yield a wide gable with a round window."""
    top, middle = scene.eaves - scene.roof_height, (scene.left + scene.right) / 2
    left, right = scene.left - 0.025, scene.right + 0.025
    yield Shape(scene.roof_cover, ((left, scene.eaves), (middle, top), (right, scene.eaves)))
    inner = 0.82
    half = inner * (scene.right - scene.left) / 2
    peak = (middle, scene.eaves - inner * scene.roof_height)
    foot = ((middle - half, scene.eaves), (middle + half, scene.eaves))
    yield Shape(f"wall_{scene.scheme}", (foot[0], peak, foot[1]))
    y, radius = scene.eaves - 0.38 * scene.roof_height, 0.2 * scene.roof_height
    yield Shape("molding", disk(middle, y, radius + 0.008))
    yield Shape("window", disk(middle, y, radius))


def hip_roof(scene: Scene) -> Iterator[Shape]:
    """Yield a roof that slopes at the sides, with a ridge."""
    top, inset = scene.eaves - scene.roof_height, 0.22 * (scene.right - scene.left)
    left, right = scene.left - 0.03, scene.right + 0.03
    ridge = (scene.left + inset, scene.right - inset)
    outline = ((left, scene.eaves), (ridge[0], top), (ridge[1], top), (right, scene.eaves))
    yield Shape(scene.roof_cover, outline)
    yield Shape("cornice", Box(ridge[0], top - 0.006, ridge[1], top + 0.004).points())


def mansard_roof(scene: Scene) -> Iterator[Shape]:
    """Yield a steep roof with a dormer above every column."""
    top, left, right = scene.eaves - scene.roof_height, scene.left, scene.right
    outline = ((left - 0.01, scene.eaves), (left + 0.03, top), (right - 0.03, top))
    yield Shape(scene.roof_cover, (*outline, (right + 0.01, scene.eaves)))
    yield Shape("cornice", Box(left + 0.025, top - 0.01, right - 0.025, top + 0.004).points())
    width = (right - left) / scene.columns
    for column in range(scene.columns):
        x, half = left + (column + 0.5) * width, min(0.032, 0.26 * width)
        dormer = Box(x - half, scene.eaves - 0.72 * scene.roof_height, x + half, scene.eaves)
        peak = (x, dormer.top - 0.028)
        yield Shape("molding", dormer.points())
        yield Shape("window", dormer.part(0.2, 0.16, 0.8, 0.84).points())
        eaves = ((dormer.left - 0.008, dormer.top), peak, (dormer.right + 0.008, dormer.top))
        yield Shape("cornice", eaves)


ROOFS: dict[str, Callable[[Scene], Iterator[Shape]]] = {
    "flat": flat_roof,
    "gable": gable_roof,
    "hip": hip_roof,
    "mansard": mansard_roof,
}


def house_shapes(scene: Scene) -> Iterator[Shape]:
    """Yield the wall, its pillars and its horizontal bands."""
    wall = Box(scene.left, scene.eaves, scene.right, scene.ground)
    yield Shape(f"wall_{scene.scheme}", wall.points())
    chosen = {"none": (), "corners": (0, scene.columns), "all": range(scene.columns + 1)}
    for column in chosen[scene.pillars]:
        x = wall.left + 0.011 + column / scene.columns * (wall.width - 0.022)
        yield Shape("pillar", Box(x - 0.011, wall.top, x + 0.011, wall.bottom).points())
    for floor in range(1, scene.floors):
        if scene.courses or floor == 1:
            y = wall.bottom - floor / scene.floors * wall.height
            yield Shape("cornice", Box(wall.left, y - 0.007, wall.right, y + 0.006).points())
    yield Shape("cornice", Box(wall.left, wall.bottom - 0.02, wall.right, wall.bottom).points())
    eaves = Box(wall.left - 0.015, wall.top - 0.012, wall.right + 0.015, wall.top + 0.014)
    yield Shape("cornice", eaves.points())


def cell_shapes(scene: Scene, floor: int, column: int) -> Iterator[Shape]:
    """Yield what one floor has in one column."""
    width = (scene.right - scene.left) / scene.columns
    height = (scene.ground - scene.eaves) / scene.floors
    left, bottom = scene.left + column * width, scene.ground - floor * height
    cell = Box(left, bottom - height, left + width, bottom)
    if floor == 0 and column == scene.door_column:
        yield from door_shapes(scene, cell)
    elif floor == 0 and scene.shops:
        yield from shop_shapes(cell)
    else:
        yield from window_shapes(scene, cell, floor)
        if (floor, column) in scene.balconies:
            rail = cell.part(0.1, 0.62, 0.9, 0.96)
            yield Shape("balcony", rail.points())


def door_shapes(scene: Scene, cell: Box) -> Iterator[Shape]:
    """Yield a door with its frame and step."""
    half = min(0.34 * cell.width, 0.24 * cell.height)
    middle = (cell.left + cell.right) / 2
    door = Box(middle - half, cell.top + 0.24 * cell.height, middle + half, cell.bottom)
    outline = Box.arch if scene.arched else Box.points
    frame = Box(door.left - 0.013, door.top - 0.013, door.right + 0.013, door.bottom)
    yield Shape("molding", outline(frame))
    yield Shape("door", outline(door))
    if not scene.arched:
        hood = Box(frame.left - 0.012, frame.top - 0.014, frame.right + 0.012, frame.top)
        yield Shape("cornice", hood.points())


def shop_shapes(cell: Box) -> Iterator[Shape]:
    """Yield a shop window under an awning."""
    yield Shape("shop", cell.part(0.08, 0.3, 0.92, 0.9).points())
    upper, lower = cell.part(0.1, 0.16, 0.9, 0.3), cell.part(0.03, 0.16, 0.97, 0.46)
    slope = ((upper.left, upper.top), (upper.right, upper.top))
    yield Shape("awning", (*slope, (lower.right, lower.bottom), (lower.left, lower.bottom)))


def window_shapes(scene: Scene, cell: Box, floor: int) -> Iterator[Shape]:
    """Yield a window, or two narrow ones, with what surrounds it."""
    top = 0.16 + (0.62 - scene.window_height) / 2
    side = (1 - scene.window_width) / 2
    whole = cell.part(side, top, 1 - side, top + scene.window_height)
    outline = Box.arch if floor < scene.arched else Box.points
    yield Shape("molding", outline(whole.grown(0.009, 0.009)))
    panes = [whole.part(0, 0, 0.46, 1), whole.part(0.54, 0, 1, 1)] if scene.twin else [whole]
    for pane in panes:
        yield Shape("window", outline(pane))
    sill = Box(whole.left - 0.016, whole.bottom, whole.right + 0.016, whole.bottom + 0.013)
    yield Shape("sill", sill.points())
    if scene.hoods and floor and floor >= scene.arched:
        hood = Box(whole.left - 0.018, whole.top - 0.022, whole.right + 0.018, whole.top - 0.009)
        yield Shape("cornice", hood.points())
    if scene.shutters and floor:
        leaf = 0.48 * whole.width
        for left in (whole.left - 0.009 - leaf, whole.right + 0.009):
            yield Shape("shutter", Box(left, whole.top, left + leaf, whole.bottom).points())


def street_shapes(scene: Scene) -> Iterator[Shape]:
    """Yield the ground and what stands on it."""
    curb = scene.ground + 0.05
    yield Shape("pavement", Box(0, scene.ground, 1, curb).points())
    yield Shape("road", Box(0, curb, 1, 1).points())
    for x, radius in scene.trees:
        foot, middle = scene.ground + 0.03, scene.ground - 2.1 * radius
        yield Shape("trunk", Box(x - 0.009, middle, x + 0.009, foot).points())
        for turn in range(7):
            angle = 2 * math.pi * turn / 7
            at = (x + 0.62 * radius * math.cos(angle), middle + 0.62 * radius * math.sin(angle))
            yield Shape("tree", disk(*at, 0.6 * radius))
        yield Shape("tree", disk(x, middle, 0.8 * radius))
    for x in scene.lamps:
        foot, top = scene.ground + 0.035, scene.ground - 0.17
        yield Shape("lamp", Box(x - 0.004, top, x + 0.004, foot).points())
        yield Shape("lamp", Box(x - 0.008, foot - 0.02, x + 0.008, foot).points())
        yield Shape("lamp", Box(x - 0.013, top - 0.034, x + 0.013, top).points())


# --- painting: shapes as pixels, larger than asked for, so that shrinking smooths the edges


def oversampling(size: int) -> int:
    """Return how many times larger than `size` to draw."""
    return max(2, min(6, round(768 / size)))


def to_image(values: NDArray[Any]) -> Image.Image:
    """Return values (h, w) or (h, w, 3) in about [0, 255] as an image."""
    return Image.fromarray(values.clip(0, 255).astype(np.uint8))


class Canvas:
    """A photo in progress: its paint, its own light and the label of every pixel."""

    def __init__(self, scene: Scene, style: Style, side: int) -> None:
        self.scene, self.style, self.side = scene, style, side
        self.scheme = SCHEMES[scene.scheme]
        self.rng = random.Random(scene.seed)
        self.image = Image.new("RGB", (side, side))
        self.glow = Image.new("RGB", (side, side))  # light sent out
        self.draw, self.glow_draw = ImageDraw.Draw(self.image), ImageDraw.Draw(self.glow)

    def fill(self, points: Points, color: Color) -> None:
        """Paint a polygon, which sends out no light."""
        self.draw.polygon([(x * self.side, y * self.side) for x, y in points], fill=color)
        self.shine(points, (0, 0, 0))

    def shine(self, points: Points, color: Color) -> None:
        """Let a polygon send out light."""
        self.glow_draw.polygon([(x * self.side, y * self.side) for x, y in points], fill=color)

    def blend(self, points: Points, patch: Pixels) -> None:
        """Fill a polygon with a small image (h, w, 3) stretched over its bounds."""
        self.shine(points, (0, 0, 0))
        box = bounds(points)
        x, y = math.floor(box.left * self.side), math.floor(box.top * self.side)
        size = (
            max(1, math.ceil(box.right * self.side) - x),
            max(1, math.ceil(box.bottom * self.side) - y),
        )
        small = to_image(patch)
        mask = Image.new("L", size)
        moved = [(px * self.side - x, py * self.side - y) for px, py in points]
        ImageDraw.Draw(mask).polygon(moved, fill=255)
        self.image.paste(small.resize(size, Image.Resampling.BILINEAR), (x, y), mask)


def mixed(first: Color, second: Color, share: float) -> Color:
    """Return a colour between two."""
    r, g, b = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return (r, g, b)


def shaded(color: Color, factor: float) -> Color:
    """Return a darker or lighter colour."""
    r, g, b = (min(255, round(factor * channel)) for channel in color)
    return (r, g, b)


def inset(points: Points, margin: float) -> Points:
    """Return the outline shrunk towards its middle so that the bounds lose `margin`."""
    box = bounds(points)
    x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    wide, high = (max(0.1, 1 - 2 * margin / side) for side in (box.width, box.height))
    return tuple((x + (px - x) * wide, y + (py - y) * high) for px, py in points)


def pane(top: Color, bottom: Color) -> Pixels:
    """Return glass: darker downwards, with the reflection of the sky as a slanted band."""
    y, x = np.mgrid[0:1:24j, 0:1:24j][..., None]
    upper, lower = np.array(top), np.array(bottom)
    band = np.exp(-(((x + 0.7 * y - 0.62) / 0.16) ** 2))
    glass: Pixels = (upper + (lower - upper) * y + 46 * band).astype(np.float32)
    return glass


def paint_glass(canvas: Canvas, points: Points, lit: bool) -> None:
    """Paint a pane, dark or with a lit room behind it."""
    canvas.blend(points, pane(*canvas.style.glass))
    if lit:
        warmth = canvas.rng.uniform(0.0, 1.0)
        color = mixed((255, 178, 84), (255, 212, 128), warmth)
        canvas.shine(points, color)
        box = bounds(points)
        for curtain in (box.part(0, 0, 0.2, 1), box.part(0.8, 0, 1, 1), box.part(0, 0.75, 1, 1)):
            canvas.shine(clipped(curtain, box, points), shaded(color, 0.78))


def clipped(part: Box, box: Box, points: Points) -> Points:
    """Return `part` without what a round top of `points` cuts off."""
    rectangular = len(points) == 4
    return part.points() if rectangular or part.top > box.top else ((part.left, part.bottom),) * 2


def paint_window(canvas: Canvas, points: Points) -> None:
    """Paint a window: frame, glass and bars."""
    box, line = bounds(points), 0.0055
    frame = mixed((250, 250, 246), canvas.scheme.trim, 0.3)
    canvas.fill(points, frame)
    paint_glass(canvas, inset(points, line), canvas.rng.random() < canvas.style.lit)
    bars, middle = [], (box.left + box.right) / 2
    if box.width > 0.034:
        bars.append(Box(middle - line / 2, box.top, middle + line / 2, box.bottom))
    if box.height > 1.25 * box.width:
        y = box.top + 0.36 * box.height
        bars.append(Box(box.left, y - line / 2, box.right, y + line / 2))
    for bar in bars:
        canvas.fill(bar.points(), frame)


def paint_door(canvas: Canvas, points: Points) -> None:
    """Paint a double door with panels and a light above it."""
    box, color = bounds(points), canvas.scheme.door
    canvas.fill(points, shaded(color, 0.8))
    leaves = box.part(0.06, 0.27, 0.94, 1.0)
    canvas.fill(leaves.points(), color)
    top = [(x, min(y, box.top + 0.22 * box.height)) for x, y in inset(points, 0.006)]
    paint_glass(canvas, tuple(top), canvas.style.lit > 0)
    for left, right in ((0.08, 0.44), (0.56, 0.92)):
        for upper, lower in ((0.06, 0.48), (0.56, 0.92)):
            panel = leaves.part(left, upper, right, lower)
            canvas.fill(panel.points(), shaded(color, 0.68))
            canvas.fill(panel.part(0.14, 0.08, 1, 1).points(), shaded(color, 1.22))
    canvas.fill(leaves.part(0.485, 0, 0.515, 1).points(), shaded(color, 0.5))
    canvas.fill(leaves.part(0.55, 0.5, 0.62, 0.54).points(), (226, 190, 104))


def paint_shop(canvas: Canvas, points: Points) -> None:
    """Paint a shop window with three panes over a panelled base."""
    box, color = bounds(points), shaded(canvas.scheme.door, 0.85)
    canvas.fill(points, color)
    for place in range(3):
        glass = box.part(0.04 + 0.315 * place, 0.05, 0.33 + 0.315 * place, 0.8)
        paint_glass(canvas, glass.points(), canvas.style.lit > 0)
    canvas.fill(box.part(0.05, 0.87, 0.95, 0.96).points(), shaded(color, 1.4))


def paint_awning(canvas: Canvas, points: Points) -> None:
    """Paint striped cloth with a darker hanging edge."""
    (top_left, y0), (top_right, _), (right, y1), (left, _) = points
    stripes = max(3, 2 * round((right - left) / 0.045) + 1)
    for stripe in range(stripes):
        a, b = stripe / stripes, (stripe + 1) / stripes
        upper = [top_left + share * (top_right - top_left) for share in (a, b)]
        lower = [left + share * (right - left) for share in (a, b)]
        color = canvas.scheme.awning if stripe % 2 == 0 else (244, 238, 226)
        canvas.fill(((upper[0], y0), (upper[1], y0), (lower[1], y1), (lower[0], y1)), color)
        edge = Box(lower[0], y1 - 0.25 * (y1 - y0), lower[1], y1)
        canvas.fill(edge.points(), shaded(color, 0.82))


def paint_balcony(canvas: Canvas, points: Points) -> None:
    """Paint a slab and an iron railing, through which the window shows."""
    box, iron = bounds(points), (52, 54, 60)
    count = max(4, round(box.width / 0.012))
    for bar in range(count + 1):
        x = box.left + bar / count * box.width
        canvas.fill(Box(x - 0.0016, box.top, x + 0.0016, box.bottom).points(), iron)
    canvas.fill(box.part(0, 0, 1, 0.1).points(), iron)
    canvas.fill(box.part(0, 0.8, 1, 1).points(), canvas.scheme.trim)


def paint_shutter(canvas: Canvas, points: Points) -> None:
    """Paint a louvred leaf."""
    box, color = bounds(points), canvas.scheme.shutter
    canvas.fill(points, color)
    slats = max(4, round(box.height / 0.012))
    for slat in range(slats):
        line = box.part(0.14, (slat + 0.6) / slats, 0.86, (slat + 0.95) / slats)
        canvas.fill(line.points(), shaded(color, 0.66))


def paint_cornice(canvas: Canvas, points: Points) -> None:
    """Paint a stone band, lighter above than below."""
    trim = np.asarray(canvas.scheme.trim, np.float32)
    canvas.blend(points, np.linspace(1.04, 0.84, 8, dtype=np.float32)[:, None, None] * trim)


def paint_pillar(canvas: Canvas, points: Points) -> None:
    """Paint a shaft, lighter at the left than at the right."""
    trim = np.asarray(canvas.scheme.trim, np.float32)
    canvas.blend(points, np.linspace(1.03, 0.80, 8, dtype=np.float32)[None, :, None] * trim)


def paint_tree(canvas: Canvas, points: Points) -> None:
    """Paint foliage, lighter at the upper left."""
    y, x = np.mgrid[0:1:12j, 0:1:12j][..., None]
    leaves = np.asarray(canvas.style.foliage) * (1.28 - 0.3 * x - 0.42 * y)
    canvas.blend(points, leaves.astype(np.float32))


def paint_lamp(canvas: Canvas, points: Points) -> None:
    """Paint a part of a street lamp; the wide one is the lantern."""
    box = bounds(points)
    canvas.fill(points, PAINT["lamp"])
    if box.width > 0.02:
        glass = box.part(0.16, 0.16, 0.84, 0.9).points()
        canvas.fill(glass, (226, 222, 204))
        if canvas.style.lit:
            canvas.shine(glass, (255, 222, 150))


PAINTERS: dict[str, Callable[[Canvas, Points], None]] = {
    "window": paint_window,
    "door": paint_door,
    "shop": paint_shop,
    "awning": paint_awning,
    "balcony": paint_balcony,
    "shutter": paint_shutter,
    "cornice": paint_cornice,
    "sill": paint_cornice,
    "pillar": paint_pillar,
    "tree": paint_tree,
    "lamp": paint_lamp,
}


def paint(canvas: Canvas, shape: Shape) -> None:
    """Paint a shape by its label: with its own function, or flat."""
    if shape.label in PAINTERS:
        PAINTERS[shape.label](canvas, shape.points)
        return
    own = {"molding": canvas.scheme.trim, f"wall_{canvas.scene.scheme}": canvas.scheme.wall}
    color = own.get(shape.label) or PAINT.get(shape.label, (0, 0, 0))
    canvas.fill(shape.points, color)


# --- surfaces and light: passes over all pixels at once


class Pattern(NamedTuple):
    """Rows of bricks, tiles or slabs; lengths in 1/256 of the image."""

    height: float
    width: float
    joint: float
    joint_tone: Factors
    spread: float  # how much single bricks differ


PATTERNS = {
    "wall_brick": Pattern(4.0, 9.0, 0.8, (1.14, 1.45, 1.55), 0.07),
    "wall_stone": Pattern(9.0, 18.0, 0.7, (0.88, 0.87, 0.86), 0.03),
    "chimney": Pattern(4.0, 9.0, 0.8, (1.1, 1.3, 1.4), 0.07),
    "roof_tile": Pattern(4.0, 4.5, 1.0, (0.76, 0.72, 0.72), 0.06),
    "roof_slate": Pattern(5.0, 6.0, 0.8, (0.80, 0.80, 0.82), 0.06),
    "pavement": Pattern(6.5, 12.0, 0.6, (0.88, 0.88, 0.88), 0.03),
}


def pattern_tones(
    pattern: Pattern, y: NDArray[np.intp], x: NDArray[np.intp], unit: float, rng: Generator
) -> Pixels:
    """Return the factors (n, 3) at n pixels of rows of bricks, every other one moved by half."""
    height, width = np.float32(pattern.height * unit), np.float32(pattern.width * unit)
    row, in_row = np.divmod(y.astype(np.float32), height)
    column, in_column = np.divmod(x + (row % 2) * width / 2, width)
    tones = rng.normal(1.0, pattern.spread, (97, 89)).astype(np.float32)
    tone = tones[row.astype(int) % 97, column.astype(int) % 89]
    joint = np.minimum(in_row, in_column) < pattern.joint * unit
    return np.where(joint[:, None], np.array(pattern.joint_tone, np.float32), tone[:, None])


def noise(side: int, rows: int, columns: int, rng: Generator) -> Pixels:
    """Return smooth noise (side, side) in about [-1, 1] with so many bumps."""
    grid = Image.fromarray(rng.uniform(-1, 1, (rows, columns)).astype(np.float32))
    return np.asarray(grid.resize((side, side), Image.Resampling.BICUBIC))


def add_texture(photo: Pixels, labels: Labels, rng: Generator) -> None:
    """Multiply bricks, tiles, leaves and stains into the paint."""
    side = len(photo)
    photo *= (1 + 0.025 * noise(side, 9, 9, rng) + 0.02 * noise(side, 90, 90, rng))[..., None]
    for label, pattern in PATTERNS.items():
        y, x = np.nonzero(labels == CODES[label])
        photo[y, x] *= pattern_tones(pattern, y, x, side / 256, rng)
    leaves = labels == CODES["tree"]
    photo[leaves] *= 1 + 0.22 * noise(side, 110, 110, rng)[leaves, None]


def shifted(values: NDArray[np.int8], right: int, down: int) -> NDArray[np.int8]:
    """Return the values moved right and down, the borders repeated."""
    height, width = values.shape
    return np.pad(values, ((down, 0), (right, 0)), mode="edge")[:height, :width]


def blurred(values: NDArray[Any], radius: float) -> Pixels:
    """Return values (h, w) in [0, 255] through a Gaussian filter."""
    return np.asarray(to_image(values).filter(ImageFilter.GaussianBlur(radius)), np.float32)


def relief_of(labels: Labels) -> NDArray[np.int8]:
    """Return how far every pixel stands out."""
    return np.array([label.relief for label in LABELS.values()], np.int8)[labels]


def relief_light(labels: Labels) -> tuple[Pixels, Pixels]:
    """Return the share of shadow and a brightness factor (h, w), for light from the upper left."""
    relief, below = relief_of(labels), labels != CODES["sky"]
    unit = len(labels) / 256
    shadow = np.zeros(labels.shape, bool)
    for reach in range(1, 12):  # what stands out by `reach` throws a shadow that long
        caster = shifted(relief, round(0.55 * reach * unit), round(0.85 * reach * unit))
        shadow |= caster >= relief + np.int8(reach)
    step = max(1, round(0.7 * unit))
    edge = below * np.clip(relief - shifted(relief, step, step), -3, 3).astype(np.float32)
    hollow = (blurred(16 * relief, 5 * unit) / 16 - relief).clip(0, 6)
    brightness = (1 + np.float32(0.03) * edge) * (1 - np.float32(0.028) * hollow)
    return blurred(np.where(shadow & below, 255, 0), 0.9 * unit) / np.float32(255), brightness


def sky(style: Style, side: int, horizon: float, rng: Generator) -> Pixels:
    """Return the sky (side, side, 3): a gradient, soft clouds, stars at night."""
    small = side // 2  # nothing in it is sharp but the stars
    y = np.clip(np.linspace(0, 1 / horizon, small, dtype=np.float32), 0, 1)[:, None, None]
    top, bottom, cloud = (np.array(color, np.float32) for color in (*style.sky, style.cloud))
    colors = top + (bottom - top) * y
    field = sum(noise(small, 7 * n, 3 * n, rng) / n for n in (1, 2, 4, 8)) - 1.2 * (y[..., 0] - 0.5)
    cover = 0.5 * np.clip(1.1 * field - 0.35, 0, 1)[..., None]
    image = to_image(colors + cover * (cloud - colors)).resize((side, side))
    draw = ImageDraw.Draw(image)
    for x, y, bright in rng.uniform(0, 1, (style.stars, 3)):
        radius = side / 256 * (0.3 + 0.5 * bright)
        draw.circle((x * side, y * side), radius, fill=(225, 230, 255))
    return np.asarray(image)


def snow_cover(labels: Labels, rng: Generator) -> Pixels:
    """Return how much snow (h, w) lies: on the ground, on roofs and on every ledge."""
    unit, side = len(labels) / 256, len(labels)
    relief = relief_of(labels)
    ledge = np.zeros(labels.shape, np.float32)
    for depth in range(1, 4):
        above = shifted(relief, 0, round(depth * unit))
        ledge = np.maximum(ledge, (relief > above + 1) & (relief > 3))
    share = {"pavement": 0.85, "road": 0.6, "roof_tile": 0.75, "roof_slate": 0.75, "tree": 0.35}
    table = np.array([share.get(label, 0.0) for label in LABELS], np.float32)
    cover = np.maximum(table[labels] * (1 + 0.3 * noise(side, 24, 16, rng)), 0.95 * ledge)
    return blurred(255 * cover, 0.5 * unit) / np.float32(255)


def lit_scene(canvas: Canvas, labels: Labels) -> Pixels:
    """Return the finished photo (side, side, 3) in [0, 255]."""
    style, side = canvas.style, canvas.side
    rng = np.random.default_rng(canvas.scene.seed)
    photo = np.asarray(canvas.image).astype(np.float32)
    add_texture(photo, labels, rng)
    if style.snow:
        cover = style.snow * snow_cover(labels, rng)[..., None]
        photo += cover * (np.array((246, 249, 255), np.float32) - photo)
    shadow, brightness = relief_light(labels)
    sun, shade, lamps = (
        np.array(factors, np.float32) for factors in (style.light, style.shadow, style.street_glow)
    )
    rows = np.linspace(0, 1, side, dtype=np.float32)[:, None, None]
    light = shadow[..., None] * (sun * (shade - 1))
    light += sun + np.exp(-(((rows - canvas.scene.ground) / 0.17) ** 2)) * lamps
    photo *= light
    photo *= brightness[..., None]
    above = (labels == CODES["sky"])[..., None]
    np.copyto(photo, sky(style, side, canvas.scene.ground - 0.2, rng), where=above)
    if style.lit:
        add_glow(photo, canvas.glow)
    return photo


def add_glow(photo: Pixels, glow: Image.Image) -> None:
    """Add lit windows and lamps, with a halo around them."""
    light = np.asarray(glow, np.float32)
    photo += 0.9 * (light.max(axis=2, keepdims=True) > 0) * (light - photo)
    halo = glow.reduce(4).filter(ImageFilter.GaussianBlur(len(photo) / 4 * 0.02))
    photo += 0.26 * np.asarray(halo.resize(glow.size, Image.Resampling.BILINEAR), np.float32)


# --- images


def label_codes(scene: Scene, side: int) -> Labels:
    """Return the label of every pixel as an index into `LABELS`."""
    image = Image.new("L", (side, side))
    draw = ImageDraw.Draw(image)
    for label, points in layout(scene):
        draw.polygon([(x * side, y * side) for x, y in points], fill=CODES[label])
    return np.asarray(image)


def render_labels(scene: Scene, size: int) -> Image.Image:
    """Draw the label map in flat colours."""
    factor = oversampling(size)
    # One sample of the photo's own labels per pixel: no blended colours, and no offset to it.
    codes = label_codes(scene, size * factor)[factor // 2 :: factor, factor // 2 :: factor]
    return to_image(np.array([label.color for label in LABELS.values()])[codes])


def render(scene: Scene, style: str, size: int) -> Image.Image:
    """Draw the photo of a scene in a style."""
    canvas = Canvas(scene, STYLES[style], size * oversampling(size))
    for shape in layout(scene):
        paint(canvas, shape)
    photo = lit_scene(canvas, label_codes(scene, canvas.side))
    image = to_image(photo).reduce(oversampling(size))
    grain = np.random.default_rng(scene.seed).normal(0, 1.5, (size, size, 1))
    return to_image(np.asarray(image) + grain)


def render_pair(scene: Scene, size: int) -> Image.Image:
    """Draw the label map and the day photo side by side."""
    image = Image.new("RGB", (2 * size, size))
    image.paste(render_labels(scene, size), (0, 0))
    image.paste(render(scene, "day", size), (size, 0))
    return image


# --- folders and the command line


class Folder(NamedTuple):
    """A folder of images: its path below `--output`, how many, and what draws one."""

    name: str
    images: int
    draw: Callable[[Scene, int], Image.Image]


def styled(style: str) -> Callable[[Scene, int], Image.Image]:
    """Return a function that draws scenes in one style."""
    return lambda scene, size: render(scene, style, size)


def plan(kind: str, counts: dict[str, int], domains: list[str]) -> list[Folder]:
    """Return the folders of one kind of dataset."""
    if kind == "paired":
        return [Folder(f"{kind}/{phase}", counts[phase], render_pair) for phase in PHASES]
    names = {f"/{style}": style for style in domains} if kind == "domains" else UNPAIRED_STYLES
    return [
        Folder(f"{kind}/{phase}{name}", counts[phase], styled(style))
        for phase in PHASES
        for name, style in names.items()
    ]


def save(image: Image.Image, path: Path) -> None:
    """Write an image under a temporary name, which no dataset reads, then rename it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        image.save(temporary, format="PNG")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_folder(output: Path, folder: Folder, size: int, seed: int) -> None:
    """Draw the images of a folder and say so."""
    if not folder.images:
        return
    path = output / folder.name
    path.mkdir(parents=True, exist_ok=True)
    for number in range(1, folder.images + 1):
        scene = draw_scene(seed, folder.name, number)
        save(folder.draw(scene, size), path / f"{number:04}.png")
    print(f"{path}: {folder.images} images")
    others = len(list(path.glob("*.png"))) - folder.images
    if others:
        print(f"  and {others} more that were already there; remove them if they are not wanted")


COMMANDS = {"paired": "--model pix2pix --direction AtoB", "unpaired": "--model cycle_gan"}


def report(kind: str, output: Path) -> None:
    """Print what to do with a dataset."""
    root = shlex.quote(str(output / kind))
    if kind in COMMANDS:
        print(f"Train on it: python train.py --dataroot {root} --name demo_{kind} {COMMANDS[kind]}")
    else:
        print(f"{root} has one folder per domain: <phase>/<domain>/, for models of many domains")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        description="Draw a small dataset of house fronts to try training on."
    )
    parser.add_argument("--output", type=Path, default=Path("datasets/demo"), help="where to write")
    kinds = ("paired", "unpaired", "domains", "all")
    parser.add_argument("--kind", choices=kinds, default="paired", help="what to draw")
    parser.add_argument("--size", type=int, default=256, help="side of an image, even, from 32")
    for phase, count in zip(PHASES, (40, 8, 8), strict=True):
        text = f"images to {phase} with, per domain" if phase == "train" else f"{phase} images"
        parser.add_argument(f"--{phase}", type=int, default=count, help=text)
    parser.add_argument("--seed", type=int, default=0, help="another seed draws other scenes")
    parser.add_argument(
        "--domains", default="day,dusk,night", help=f"styles for domains: {', '.join(STYLES)}"
    )
    return parser


def problems(args: argparse.Namespace) -> Iterator[str]:
    """Yield one message per argument that cannot work."""
    if not 32 <= args.size <= LARGEST or args.size % 2:
        yield f"--size {args.size} is not an even number from 32 to {LARGEST}. Try --size 256."
    for phase, least in zip(PHASES, (1, 0, 0), strict=True):
        if getattr(args, phase) < least:
            yield f"--{phase} {getattr(args, phase)} is too small. Give {least} or more."
    if args.seed < 0:
        yield f"--seed {args.seed} is negative. Give 0 or more."
    names = args.domains.split(",")
    for name in names:
        if name not in STYLES:
            yield f"--domains has no style {name!r}. Choose from {', '.join(STYLES)}."
    if len(set(names)) < len(names):
        yield f"--domains {args.domains} names a style twice. Name each once."


def main(argv: list[str] | None = None) -> None:
    """Draw the dataset that the command line asks for."""
    parser = build_parser()
    args = parser.parse_args(argv)
    if found := list(problems(args)):
        parser.error(" ".join(found))
    counts = {phase: getattr(args, phase) for phase in PHASES}
    kinds = ("paired", "unpaired", "domains") if args.kind == "all" else (args.kind,)
    for kind in kinds:
        try:
            for folder in plan(kind, counts, args.domains.split(",")):
                write_folder(args.output, folder, args.size, args.seed)
        except OSError as error:
            reason = error.strerror or error
            parser.error(f"Cannot write below --output {args.output}: {reason}. Choose another.")
        report(kind, args.output)


if __name__ == "__main__":
    sys.exit(run_command(main))
