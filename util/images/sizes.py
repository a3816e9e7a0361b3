"""How large the images are that networks get, by --preprocess, --load_size and --crop_size."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class ImageSize(NamedTuple):
    """What three options say of it."""

    preprocess: str
    load_size: int
    crop_size: int

    @staticmethod
    def of(options: Mapping[str, Any]) -> "ImageSize | None":
        """Return what options say, which a file may hold as text; None if it does not."""
        try:
            sizes = int(options["load_size"]), int(options["crop_size"])
            return ImageSize(str(options["preprocess"]), *sizes)
        except (LookupError, TypeError, ValueError):
            return None

    def __str__(self) -> str:
        """Say it in words that follow "images are"."""
        if "resize" in self.preprocess:
            side = self.crop_size if "crop" in self.preprocess else self.load_size
            return f"{side}x{side}"
        scaled = {"scale_width": "wide", "scale_shortside": "on the shorter side"}
        whole = "as large as they are"
        for mode, where in scaled.items():
            if mode in self.preprocess:
                whole = f"{self.load_size} pixels {where}"
        if "crop" not in self.preprocess:
            return whole
        return f"{self.crop_size}x{self.crop_size}, cut from images {whole}"

    @property
    def options(self) -> str:
        """Return the options that give images of this size."""
        return " ".join(f"--{name} {value}" for name, value in self._asdict().items())

    def for_test(self) -> dict[str, str]:
        """Return the options of test.py that give whole images at this scale, but for defaults."""
        whole, usual = self.whole(), ImageSize("resize_and_crop", 256, 256)
        if whole.preprocess in ("resize_and_crop", "crop", "none"):  # --crop_size decides it, or
            usual = usual._replace(load_size=whole.load_size)  # it decides nothing
        if whole.preprocess in ("resize", "scale_shortside", "none"):
            usual = usual._replace(crop_size=whole.crop_size)
        pairs = zip(whole._asdict().items(), usual, strict=True)
        return {name: str(value) for (name, value), known in pairs if value != known}

    def whole(self) -> "ImageSize":
        """Return the size of whole images, at the scale of the crops.

        What `resize_and_crop` crops is nearly the whole image: it becomes as large as the crop. A
        crop of images as they are stays one, since these may be of any size.
        """
        if "resize" in self.preprocess and "crop" in self.preprocess:
            return self._replace(load_size=self.crop_size)
        if "scale" in self.preprocess:
            scale = next(word for word in self.preprocess.split("_and_") if "scale" in word)
            return self._replace(preprocess=scale)
        return self
