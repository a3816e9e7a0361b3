"""A fork that downloads nothing."""


class GetData:
    """Knows no data."""

    def __init__(self, technique: str = "cyclegan", verbose: bool = True) -> None:
        self.technique, self.verbose = technique, verbose

    def get(self, save_path: str, dataset: str | None = None) -> str:
        return f"{save_path}/{dataset}"
