"""A fork's own pages: the original's calls, and nothing else."""

import os
from collections.abc import Sequence


class HTML:
    """A page without dominate."""

    def __init__(self, web_dir: str, title: str, refresh: int = 0) -> None:
        self.title, self.web_dir, self.refresh = title, web_dir, refresh
        self.img_dir = os.path.join(web_dir, "images")
        self.parts = [f"<title>fork: {title}</title>"]
        os.makedirs(self.img_dir, exist_ok=True)

    def get_image_dir(self) -> str:
        return self.img_dir

    def add_header(self, text: str) -> None:
        self.parts.append(f"<h3>{text}</h3>")

    def add_images(
        self, ims: Sequence[str], txts: Sequence[str], links: Sequence[str], width: int = 400
    ) -> None:
        for image, text, link in zip(ims, txts, links, strict=True):
            self.parts.append(
                f'<a href="images/{link}"><img width="{width}" src="images/{image}">{text}</a>'
            )

    def save(self) -> None:
        with open(os.path.join(self.web_dir, "index.html"), "w") as page:
            page.write("\n".join(self.parts))
