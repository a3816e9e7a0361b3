"""What a test gathers from one image to the next, besides the images themselves."""

import os
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from util.base import system
from util.inference.batching import one_by_one
from util.inference.image_scores import show_scores
from util.inference.once import Made, OncePerSide
from util.inference.outputs import OutputsByDomain
from util.inference.pairs import pairs_among, save_pairs
from util.inference.result_names import results_folder
from util.inference.sheets import keep_for_sheets, kept_for_sheets
from util.inference.visuals import SavedVisuals
from util.processes import group
from util.processes.parts import go_on
from util.processes.shared_files import require_shared


class TestResults:
    """Which images of a model are new, which of them are saved and scored, and for which domain.

    Of several processes each notes what becomes of its `images`, until `gather`.

    Attributes:
        count: how many images have been noted.
    """

    __test__ = False  # for pytest: not a test case

    def __init__(
        self,
        opt: Namespace,
        dataset: object,
        model: object,
        validation_pairs: Callable[[], Mapping[str, Any]],
        webpage: Any,  # of util/html.py
        images: range,  # which of all this process translates
    ) -> None:
        self.count = 0
        self._opt = opt
        self._webpage = webpage
        self._folder = results_folder(opt)
        self._validation_pairs = validation_pairs
        self._model = model
        self._writes = system.is_main_process()
        self._once = OncePerSide(dataset, opt.direction)
        self._once.pass_over(range(images.start))
        self._saved = SavedVisuals.of(opt)
        self._pairs: dict[str, str] | None = None  # labels of what is made, and should be
        self._outputs = OutputsByDomain(model)
        self.save()  # nothing yet: what an earlier test wrote ends here

    def new_in(
        self, batch: Mapping[str, Any], made: Mapping[str, Any], sources: Sequence[str]
    ) -> Iterator[Made]:
        """Yield what was made of each item of a batch, with its path: what there was not before."""
        go_on()  # unless another process has failed
        if self._pairs is None:
            self._pairs = self._look_at(made)
        items = one_by_one(made, sources, self._opt.batch_size)
        for visuals, paths in items if self._pairs else self._once.new(batch, items):
            if self.to_save(visuals):
                yield visuals, paths

    def _look_at(self, made: Mapping[str, Any]) -> dict[str, str]:
        """Note beside the page what the first images tell of all; return what is scored."""
        pairs = pairs_among(made, self._opt.dataset_mode, self._validation_pairs)
        self._saved.require_in(made)
        if self._writes:
            save_pairs(self._folder, self._saved.pairs_among(pairs))
            self._webpage.result_files.save_ranges(self._folder, made)
        return pairs

    def to_save(self, visuals: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return those of the images of an item that are saved: `--visuals`."""
        return self._saved.among(visuals)

    def note(self, visuals: Mapping[str, Any], paths: Sequence[str]) -> None:
        """Put the scores of an item on the page, and keep which files it has made."""
        page, opt = self._webpage, self._opt
        show_scores(page, visuals, self._pairs or {}, opt.aspect_ratio, paths[0])
        name, ending = page.names.name(paths[0]), page.result_files.ending
        self._outputs.add(name, self.to_save(visuals), ending)
        self.count += 1

    def gather(self) -> None:
        """Add what other processes have noted of their images, after those of the first one.

        Raises:
            UserError: their images are not where the first one looks for them.
        """
        with group.with_others():
            if group.count() == 1 or not hasattr(self._webpage, "add_sections"):
                return  # the first process has translated all, where a page cannot take others'
            own = self._webpage.sections(), self._outputs.plain(), kept_for_sheets(self._model)
            of_others = group.gathered(own)[1:]
        folder = self._webpage.get_image_dir()
        written = [os.path.join(folder, name) for name in self._webpage.files()]
        require_shared(written, "--results_dir")
        for sections, outputs, kept in of_others if self._writes else []:
            self._webpage.add_sections(sections)
            self._outputs.take_over(outputs)
            keep_for_sheets(self._model, kept)

    def save(self) -> None:
        """Write down what was made for which domain."""
        if self._writes:
            self._outputs.save(self._folder)
